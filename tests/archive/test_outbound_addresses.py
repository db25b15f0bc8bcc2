"""Which addresses and URLs are asked on behalf of somebody else: a corpus of the ways around the check."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.outbound import AddressPolicy, AllowedSources, Location, OutboundError, Reason, UrlPrefix
from meteorpi_server.outbound.addresses import is_own, is_public

PUBLIC = "93.184.216.34"
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
NOT_PUBLIC_6 = [
    "::",
    "::1",
    "::2",
    "::8.8.8.8",
    "::ffff:0:8.8.8.8",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "100:0:0:1::1",
    "2001:2::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2620:4f:8000::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::1%eth0",
    "2606:2800:220:1::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def carrying(text: str) -> list[str]:
    """Every IPv6 form that leads to the IPv4 address `text`."""
    number = int(ip_address(text))
    high, low = number >> 16, number & 0xFFFF
    public = int(ip_address(PUBLIC))
    return [
        f"::ffff:{text}",
        f"64:ff9b::{text}",
        f"2002:{high:x}:{low:x}::1",
        f"2001:0:{high:x}:{low:x}:0:0:{~public >> 16 & 0xFFFF:x}:{~public & 0xFFFF:x}",
        f"2001:0:{public >> 16:x}:{public & 0xFFFF:x}:0:0:{~high & 0xFFFF:x}:{~low & 0xFFFF:x}",
        f"2606:2800:220:1:0:5efe:{high:x}:{low:x}",
        f"2606:2800:220:1:200:5efe:{high:x}:{low:x}",
    ]


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11", "archive-6.7")
@pytest.mark.parametrize("text", NOT_PUBLIC + NOT_PUBLIC_6)
def test_address_that_is_not_public_is_known_as_such(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.contract("archive-3.14/addresses", "archive-6.7")
@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_address_is_not_made_public_by_being_written_as_ipv6(text: str) -> None:
    assert [form for form in carrying(text) if is_public(ip_address(form))] == []


@pytest.mark.parametrize("text", [PUBLIC, "1.1.1.1", "9.255.255.255", "100.128.0.1", "223.255.255.255"])
def test_public_address_is_public_in_the_forms_that_lead_to_it(text: str) -> None:
    assert is_public(ip_address(text))
    assert [form for form in carrying(text) if not is_public(ip_address(form))] == []


@pytest.mark.parametrize(
    "text", ["2606:2800:220:1:248:1893:25c8:1946", "2a00:1450:4009::200e", "2001:4860::1"]
)
def test_public_ipv6_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses())
def test_nothing_is_public_that_the_library_knows_to_be_local(address: object) -> None:
    found = ip_address(str(address))
    if found.is_loopback or found.is_link_local or found.is_multicast or found.is_unspecified:
        assert not is_public(found)


@pytest.mark.contract("archive-3.14/addresses")
def test_own_addresses_are_known_without_a_list_of_interfaces() -> None:
    assert is_own(ip_address("127.0.0.1"))
    assert is_own(ip_address("127.0.0.7"))
    assert is_own(ip_address("::ffff:127.0.0.1"))
    assert not is_own(ip_address(PUBLIC))


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11", "archive-6.7")
@pytest.mark.parametrize(
    "host",
    [
        *NOT_PUBLIC,
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "[ff02::1]",
        "0",
        "0.0.0.0",
    ],
)
def test_host_that_is_not_public_is_refused_however_it_is_spelled(host: str) -> None:
    policy = AddressPolicy()

    with pytest.raises(OutboundError) as refusal:
        policy.addresses(Location.parse(f"http://{host}/"))

    assert refusal.value.reason in {Reason.REFUSED_ADDRESS, Reason.UNKNOWN_HOST}
    assert refusal.value.reason is Reason.REFUSED_ADDRESS or host in {"LOCALHOST", "localhost.", "127.0.0.1."}


@pytest.mark.contract("archive-3.14/urls", "archive-6.7")
@pytest.mark.parametrize(
    "url",
    [
        "",
        "/etc/passwd",
        "example.org/x",
        "//example.org/x",
        "file:///etc/passwd",
        "ftp://example.org/x",
        "gopher://example.org:80/_x",
        "data:text/plain,x",
        "javascript:alert(1)",
        "http:",
        "http://",
        "http:///x",
        "http://./x",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://@example.org/",
        "http://example.org@127.0.0.1/",
        "http://example.org\\@127.0.0.1/",
        "http:\\\\example.org/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:x/",
        "http://exa mple.org/",
        "http://example.org/\r\nX-Injected: 1",
        "http://example.org\n/",
        "http://example.org\t/",
        "http://example.org/\x00",
        "http://[fe80::1%25eth0]/",
        "http://[::1/",
        "http://%31%32%37.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://\u2460\u2461\u2466.0.0.1/",
        "http://" + "a" * 9000 + "/",
    ],
)
def test_url_that_readers_disagree_about_is_refused(url: str) -> None:
    with pytest.raises(OutboundError) as refusal:
        Location.parse(url)

    assert refusal.value.reason is Reason.REFUSED_URL


@pytest.mark.contract("archive-3.14/urls")
@pytest.mark.parametrize(
    ("url", "host", "target"),
    [
        ("HTTP://Example.ORG", "example.org", "/"),
        ("http://example.org:80/a/../b?x=1#part", "example.org", "/b?x=1"),
        ("http://example.org:8080/a b", "example.org:8080", "/a%20b"),
        ("https://example.org:443/%41%2f", "example.org", "/%41%2F"),
        ("https://example.org:80/", "example.org:80", "/"),
        ("http://m\u00e9t\u00e9ore.example/\u00e9", "xn--mtore-bsab.example", "/%C3%A9"),
        ("http://[2606:2800:220:1::1]:81/", "[2606:2800:220:1::1]:81", "/"),
    ],
)
def test_url_is_read_once_for_check_and_request(url: str, host: str, target: str) -> None:
    location = Location.parse(url)

    assert location.host_header == host
    assert location.target == target


def resolving(**hosts: list[str]) -> AddressPolicy:
    return AddressPolicy(resolver=lambda host: hosts[host.replace(".", "_")])


@pytest.mark.contract("archive-3.14/addresses", "archive-defect-11")
@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        [PUBLIC, "10.0.0.1"],
        ["2606:2800:220:1::1", "::ffff:192.168.0.1"],
        [PUBLIC] * 9 + ["::1"],
    ],
)
def test_name_is_refused_when_one_of_its_addresses_is_not_public(addresses: list[str]) -> None:
    policy = resolving(source_example=addresses)

    with pytest.raises(OutboundError) as refusal:
        policy.addresses(Location.parse("http://source.example/"))

    assert refusal.value.reason is Reason.REFUSED_ADDRESS
    assert not any(address in refusal.value.detail for address in addresses)


def test_name_gives_the_addresses_that_were_checked() -> None:
    policy = resolving(source_example=[PUBLIC, "2606:2800:220:1::1", PUBLIC])

    found = policy.addresses(Location.parse("http://source.example/"))

    assert [str(address) for address in found] == [PUBLIC, "2606:2800:220:1::1"]


@pytest.mark.parametrize("error", [socket.gaierror(-2, "unknown"), UnicodeError("too long"), None])
def test_name_without_an_address_is_unknown(error: Exception | None) -> None:
    def resolver(host: str) -> list[str]:
        if error:
            raise error
        return []

    with pytest.raises(OutboundError) as failure:
        AddressPolicy(resolver=resolver).addresses(Location.parse("http://source.example/"))

    assert failure.value.reason is Reason.UNKNOWN_HOST
    assert failure.value.is_worth_retrying


@pytest.mark.contract("archive-3.14/urls")
@pytest.mark.parametrize("port", [1, 22, 25, 6379, 8080, 65535])
def test_port_that_is_not_of_the_web_is_refused(port: int) -> None:
    policy = resolving(source_example=[PUBLIC])

    with pytest.raises(OutboundError) as refusal:
        policy.check_name(Location.parse(f"http://source.example:{port}/"))

    assert refusal.value.reason is Reason.REFUSED_URL


@pytest.mark.contract("archive-3.14/allowed")
@pytest.mark.parametrize(
    ("entry", "url", "is_allowed"),
    [
        ("http://peer.example:12345/data", "http://peer.example:12345/data/1", True),
        ("http://peer.example:12345/data", "http://peer.example:12345/data", True),
        ("http://peer.example:12345/data/", "http://peer.example:12345/data/1?x", True),
        ("http://peer.example:12345/data", "http://peer.example:12345/database", False),
        ("http://peer.example:12345/data", "http://peer.example:12345/data/../admin", False),
        ("http://peer.example:12345/data", "http://peer.example:12345/data/%2e%2e/admin", False),
        ("http://peer.example:12345/data", "http://peer.example:12345/data/..%2Fadmin", False),
        ("http://peer.example:12345/data", "http://peer.example:12345/data/..%5cadmin", False),
        ("http://peer.example:12345/data", "http://peer.example/data/1", False),
        ("https://peer.example/data", "http://peer.example/data/1", False),
        ("peer.example", "http://peer.example/x", True),
        ("peer.example", "https://PEER.example./x", True),
        ("peer.example", "http://peer.example:8080/", False),
        ("peer.example:8080", "http://peer.example:8080/", True),
        ("peer.example:8080", "http://peer.example/", False),
        ("peer.example", "http://peer.example.evil.example/", False),
        ("peer.example", "http://my.peer.example/", False),
        ("192.168.7.0/24", "http://peer.example/", True),
        ("192.168.7.9", "http://peer.example/", True),
        ("192.168.7.0/24", "http://peer.example:12345/", False),
        ("192.168.7.0/24:12345", "http://peer.example:12345/", True),
        ("192.168.7.0/24:12345", "http://peer.example:22/", False),
        ("192.168.8.0/24", "http://peer.example/", False),
        ("[fd00::/8]:8080", "http://[fd00::1]:8080/", True),
        ("fd00::/8", "http://[fd00::1]/", True),
        ("fd00::/8", "http://[fc00::1]/", False),
    ],
)
def test_operator_lifts_the_refusal_for_what_is_named(entry: str, url: str, is_allowed: bool) -> None:
    policy = AddressPolicy(AllowedSources.parse([entry]), lambda host: ["192.168.7.9"])

    if is_allowed:
        assert policy.addresses(Location.parse(url))
    else:
        with pytest.raises(OutboundError):
            policy.addresses(Location.parse(url))


@pytest.mark.contract("archive-3.14/allowed")
def test_only_forbids_what_is_not_named_be_it_public() -> None:
    policy = AddressPolicy(AllowedSources.parse(["only", "peer.example"]), lambda host: [PUBLIC])

    assert policy.addresses(Location.parse("http://peer.example/"))
    for url in ("http://other.example/", f"http://{PUBLIC}/"):
        with pytest.raises(OutboundError) as refusal:
            policy.check_name(Location.parse(url))
        assert refusal.value.reason is Reason.REFUSED_ADDRESS


def test_only_with_a_network_allows_names_that_lead_into_it() -> None:
    inside = AddressPolicy(AllowedSources.parse(["only", "93.184.216.0/24"]), lambda host: [PUBLIC])
    outside = AddressPolicy(AllowedSources.parse(["only", "93.184.0.0/24"]), lambda host: [PUBLIC])

    assert inside.addresses(Location.parse("http://source.example/"))
    with pytest.raises(OutboundError):
        outside.addresses(Location.parse("http://source.example/"))


@pytest.mark.parametrize(
    "entry", ["", "ftp://x/", "http://", "10.0.0.1/8", "10.0.0.0/33", "host/path", "a b", "[::1", "host:0"]
)
def test_entry_that_cannot_be_read_is_named(entry: str) -> None:
    with pytest.raises(ConfigurationError, match="allowed_sources"):
        AllowedSources.parse([entry])


def test_prefix_of_urls_can_be_used_alone() -> None:
    prefix = UrlPrefix.parse("https://peer.example/data/")

    assert prefix.covers(Location.parse("https://peer.example/data/x"))
    assert not prefix.covers(Location.parse("https://peer.example/"))


def test_resolver_is_asked_once_for_many_files_of_one_server() -> None:
    asked: list[str] = []

    def resolver(host: str) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    policy = AddressPolicy(resolver=resolver)
    for number in range(20):
        policy.addresses(Location.parse(f"http://source.example/{number}"))

    assert asked == ["source.example"]
