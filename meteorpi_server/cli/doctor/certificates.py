"""TLS as callers meet it: a certificate that they trust, for this name, for some time yet."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.site import TIMEOUT_SECONDS, Reply, Site

FEW_DAYS: Final = 21
"""Renewal is tried from the thirtieth day before the end; three weeks before it, something does not work."""

_DAY_SECONDS: Final = 86400
_GOOD_VERSIONS: Final = ("TLSv1.2", "TLSv1.3")
_RENEW: Final = (
    "renew it (certbot renew), and let the web server read it again; certbot does so with --deploy-hook"
)


def check_tls(site: Site) -> Iterator[Finding]:
    """Whether callers can trust the server, and how much longer."""
    if not site.is_encrypted:
        yield _plain_finding(site)
        return
    try:
        certificate, version = site.open_tls()
    except ssl.SSLCertVerificationError as error:
        yield _untrusted(site, error)
        return
    except ssl.SSLError as error:
        yield Finding("error", "tls", f"no TLS at {site.host} port {site.port}: {error.reason}", _NO_TLS)
        return
    except OSError:
        return  # that nothing answers is found elsewhere
    if version not in _GOOD_VERSIONS:
        yield Finding(
            "error", "tls", f"speaks {version}", "allow TLS 1.2 and 1.3 only, as the samples in wsgi/ do"
        )
    yield days_finding(certificate["notAfter"], time.time())


def days_finding(not_after: str, unix_seconds: float) -> Finding:
    """How long a certificate is valid yet.

    Args:
        not_after: its end, as certificates say it.
        unix_seconds: the present time.
    """
    days = int((ssl.cert_time_to_seconds(not_after) - unix_seconds) // _DAY_SECONDS)
    if days < FEW_DAYS:
        return Finding("warning", "tls", f"the certificate ends in {days} days ({not_after})", _RENEW)
    return Finding("ok", "tls", f"the certificate is trusted, and valid for {days} days")


def check_redirect(site: Site, port: int = 80) -> Iterator[Finding]:
    """Whether what comes unencrypted is sent to the encrypted address, and nothing is answered otherwise."""
    connection = http.client.HTTPConnection(site.host, port, timeout=TIMEOUT_SECONDS)
    with closing(connection):
        try:
            connection.request("GET", f"{site.path}/health")
            response = connection.getresponse()
            target = response.headers.get("Location", "")
        except (OSError, http.client.HTTPException):
            yield Finding("ok", "plain http", f"port {port} is closed")
            return
    if response.status in (301, 302, 307, 308) and target.startswith("https://"):
        yield Finding("ok", "plain http", f"is sent to {target}")
    else:
        detail = f"port {port} answers {response.status}: passwords may travel readable"
        remedy = "send everything there to https, as the samples in wsgi/ do"
        yield Finding("warning", "plain http", detail, remedy)


def check_strict_transport(site: Site, reply: Reply) -> Iterator[Finding]:
    """Whether browsers are told to come encrypted only."""
    if site.is_encrypted and "Strict-Transport-Security" not in reply.headers:
        remedy = 'once TLS is to stay, let the web server add "Strict-Transport-Security: max-age=31536000"'
        yield Finding("note", "tls", "browsers are not told to come encrypted only", remedy)


_NO_TLS: Final = "the port is not one for https; see the samples in wsgi/"


def _plain_finding(site: Site) -> Finding:
    if site.host == "localhost" or _is_loopback(site.host):
        return Finding("note", "tls", "not encrypted, and inside this machine")
    detail = "not encrypted: passwords and tokens can be read on the way"
    return Finding("error", "tls", detail, "set TLS up; certbot gets a certificate for a public name")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _untrusted(site: Site, error: ssl.SSLCertVerificationError) -> Finding:
    reason = str(error.verify_message)
    if "expired" in reason:
        remedy = _RENEW
    elif "mismatch" in reason or "not valid for" in reason:
        remedy = f"get a certificate for {site.host}, or use the name that is in it"
    elif "not yet valid" in reason:
        remedy = "one of the clocks is wrong: timedatectl set-ntp true"
    else:
        remedy = (
            "let the web server send the whole chain (fullchain.pem); where the authority is your own, "
            "name it: meteorpi doctor --ca-file FILE"
        )
    return Finding("error", "tls", f"callers do not trust the certificate: {reason}", remedy)
