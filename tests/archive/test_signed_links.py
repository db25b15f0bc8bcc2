"""Signed links: what is verified, and everything that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model.errors import InvalidDocumentError, NotAllowedError
from meteorpi_server.archive_api.signed_links import MAX_TOKEN_CHARACTERS, SignedLink, read_link

SECRET = "5e" * 48
KEY = hashlib.sha256(SECRET.encode()).digest()
URL = "https://source.example/a.jpg"
NOW = 1_450_000_000


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def made_of(header: bytes, payload: bytes, secret: bytes = SECRET.encode(), hash_name: str = "sha256") -> str:
    """A token with a good signature over any header and payload, as RFC 7515 says."""
    signed = f"{encoded(header)}.{encoded(payload)}"
    return f"{signed}.{encoded(hmac.new(secret, signed.encode(), hash_name).digest())}"


def token(claims: Any = None, header: Any = None, **more: Any) -> str:
    whole = {"url": URL} | more if claims is None else claims
    return made_of(json.dumps(header or {"alg": "HS256"}).encode(), json.dumps(whole).encode())


@pytest.mark.contract("archive-3.10/signed", "archive-3.3/storage")
def test_digest_of_the_secret_verifies_what_the_secret_signed() -> None:
    assert read_link(token(), KEY, NOW) == SignedLink(url=URL)


def test_token_of_the_rfc_is_verified() -> None:
    """RFC 7515 appendix A.1; it lacks our claim, which is looked at after signature and times."""
    key = base64.urlsafe_b64decode(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow=="
    )
    example = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )

    with pytest.raises(NotAllowedError, match="expired"):
        read_link(example, key, 1_300_819_380)
    with pytest.raises(InvalidDocumentError, match="url is missing"):
        read_link(example, key, 1_300_819_379)


@pytest.mark.contract("archive-3.10/signed", "archive-defect-13")
def test_only_harmless_headers_are_taken() -> None:
    wanted = {
        "Content-Disposition": "inline", "CACHE-CONTROL": "no-store", "Set-Cookie": "a=b", "Location": "/",
        "Access-Control-Allow-Origin": "*", "Content-Length": "1", "Transfer-Encoding": "chunked",
    }  # fmt: skip

    link = read_link(token(response_headers=wanted), KEY, NOW)

    assert link.headers == {"content-disposition": "inline", "cache-control": "no-store"}


@pytest.mark.contract("archive-3.10/signed", "archive-defect-13")
def test_expiry_is_honoured_to_the_second() -> None:
    assert read_link(token(exp=NOW + 1), KEY, NOW).url == URL
    for expiry in (NOW, NOW - 1, NOW + 0.0, 0, -1):
        with pytest.raises(NotAllowedError, match="expired"):
            read_link(token(exp=expiry), KEY, NOW)
    with pytest.raises(NotAllowedError, match="not good yet"):
        read_link(token(nbf=NOW + 1), KEY, NOW)


@pytest.mark.contract("archive-3.10/signed")
def test_expiry_is_demanded_where_that_is_set() -> None:
    with pytest.raises(NotAllowedError, match="exp is missing"):
        read_link(token(), KEY, NOW, requires_expiry=True)
    assert read_link(token(exp=NOW + 1), KEY, NOW, requires_expiry=True).url == URL


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
NONE = encoded(b'{"alg":"none"}')
BAD_TOKENS = {
    "nothing": "",
    "a word": "link",
    "dots": "..",
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{GOOD}.{BODY}",
    "no signature": f"{HEAD}.{BODY}.",
    "no algorithm, no signature": f"{NONE}.{BODY}.",
    "no algorithm, a signature": made_of(b'{"alg":"none"}', b'{"url":"x"}'),
    "algorithm missing": made_of(b"{}", b'{"url":"x"}'),
    "algorithm in small letters": made_of(b'{"alg":"hs256"}', b'{"url":"x"}'),
    "algorithm a list": made_of(b'{"alg":["HS256"]}', b'{"url":"x"}'),
    "longer hash": made_of(b'{"alg":"HS512"}', b'{"url":"x"}', hash_name="sha512"),
    "longer hash under the short name": made_of(b'{"alg":"HS256"}', b'{"url":"x"}', hash_name="sha512"),
    "public key algorithm": made_of(b'{"alg":"RS256"}', b'{"url":"x"}'),
    "critical extension": made_of(b'{"alg":"HS256","crit":["b64"],"b64":false}', b'{"url":"x"}'),
    "algorithm twice": made_of(b'{"alg":"none","alg":"HS256"}', b'{"url":"x"}'),
    "claim twice": made_of(b'{"alg":"HS256"}', b'{"url":"x","url":"y"}'),
    "another secret": made_of(b'{"alg":"HS256"}', b'{"url":"x"}', b"other" * 20),
    "signed with the digest in hexadecimal": made_of(b'{"alg":"HS256"}', b'{"url":"x"}', KEY.hex().encode()),
    "empty key": made_of(b'{"alg":"HS256"}', b'{"url":"x"}', b""),
    "signature shortened": GOOD[:-2],
    "signature lengthened": GOOD + "AA",
    "payload of another": f"{HEAD}.{encoded(b'{}')}.{SIGNATURE}",
    "padding": f"{GOOD}=",
    "line break": GOOD + "\n",
    "space": " " + GOOD,
    "ordinary base64": f"{HEAD}.{BODY}.++//{SIGNATURE[4:]}",
    "not ASCII": f"{HEAD}.{BODY}.é",
    "digits that are not ASCII": f"{HEAD}.{BODY}.{SIGNATURE[:-1]}٣",
    "null byte": f"{HEAD}.{BODY}.\0",
    "header not JSON": made_of(b"alg", b'{"url":"x"}'),
    "header a list": made_of(b'["HS256"]', b'{"url":"x"}'),
    "header not UTF-8": made_of(b'{"alg":"HS256","a":"\xff"}', b'{"url":"x"}'),
    "header of UTF-16": made_of('{"alg":"HS256"}'.encode("utf-16"), b'{"url":"x"}'),
    "payload not JSON": made_of(b'{"alg":"HS256"}', b"url"),
    "payload a string": made_of(b'{"alg":"HS256"}', b'"url"'),
    "payload too deep": made_of(b'{"alg":"HS256"}', b"[" * 9000 + b"]" * 9000),
    "number that is none": made_of(b'{"alg":"HS256"}', b'{"url":"x","exp":NaN}'),
    "endless time": made_of(b'{"alg":"HS256"}', b'{"url":"x","exp":Infinity}'),
    "no url": token({}),
    "url empty": token(url=""),
    "url not text": token(url=["x"]),
    "expiry as text": token(exp=str(NOW + 10)),
    "expiry true": token(exp=True),
    "expiry null": token(exp=None),
    "headers a list": token(response_headers=["content-type"]),
    "header of two lines": token(response_headers={"content-type": "a\r\nSet-Cookie: b"}),
    "header with a null byte": token(response_headers={"content-type": "a\0"}),
    "header not Latin": token(response_headers={"content-disposition": "Ω"}),
    "header not text": token(response_headers={"cache-control": 1}),
    "type of two lines": token(**{"content-type": "a\nb"}),
    "type not text": token(**{"content-type": 1}),
    "too long": token(url="x" * MAX_TOKEN_CHARACTERS),
}


@pytest.mark.contract("archive-3.10/signed", "archive-6.7")
@pytest.mark.parametrize("bad", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_bad_token_is_refused(bad: str) -> None:
    with pytest.raises(InvalidDocumentError):
        read_link(bad, KEY, NOW)


@given(st.integers(0, len(GOOD) - 1), st.characters(codec="utf-8"))
def test_any_other_character_anywhere_is_refused(position: int, character: str) -> None:
    changed = GOOD[:position] + character + GOOD[position + 1 :]

    if changed == GOOD:
        assert read_link(changed, KEY, NOW).url == URL
    else:
        with pytest.raises(InvalidDocumentError):
            read_link(changed, KEY, NOW)


@given(st.text(max_size=200))
def test_any_text_is_refused_in_the_same_way(text: str) -> None:
    with pytest.raises(InvalidDocumentError):
        read_link(text, KEY, NOW)
