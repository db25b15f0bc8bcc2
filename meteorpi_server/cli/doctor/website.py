"""The deployment through its web server: whether everything passes that nodes, cameras and browsers send."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any, Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.accounts import throttle
from meteorpi_model import now
from meteorpi_model.errors import TooManyAttemptsError
from meteorpi_model.values import utc_datetime_to_milliseconds
from meteorpi_server.cli.doctor.certificates import check_redirect, check_strict_transport, check_tls
from meteorpi_server.cli.doctor.contents import check_contents
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.servers import remedy_for
from meteorpi_server.cli.doctor.site import Reply, Site, SiteError

CLOCK_SLACK_SECONDS: Final = 60
HTTPS_PORT: Final = 443
PAUSE_SECONDS: Final = 0.5
SPOOFED_ADDRESS: Final = "203.0.113.77"
"""Of a network that belongs to nobody (RFC 5737)."""

OUR_REALM: Final = 'realm="MeteorPi"'

_UNKNOWN_TOKEN: Final = {"Authorization": "Bearer meteorpi-doctor-knows-no-token"}
_SLASHES: Final = "a//b/c"


def check_website(site: Site, database: MeteorDatabase | None) -> Iterator[Finding]:
    """Everything that can be seen from outside without an account and without leaving anything behind.

    Args:
        site: the deployment.
        database: that of the node, where it can be opened; None leaves out what cannot be seen without it.
    """
    yield from check_tls(site)
    try:
        reply = site.ask("GET", "/health")
        reached = reach_finding(site, reply)
    except SiteError as error:
        remedy = "see that the web server runs and the firewall lets the port through; its log says more"
        yield Finding("error", "web server", f"{site.url} does not answer: {error}", remedy)
        return
    yield reached
    if reached.level == "ok":
        yield from _checks(site, reply, database)


def _checks(site: Site, reply: Reply, database: MeteorDatabase | None) -> Iterator[Finding]:
    if site.is_encrypted and site.port == HTTPS_PORT:
        yield from check_redirect(site)
    yield from check_strict_transport(site, reply)
    yield from check_date(reply)
    yield from check_headers(reply)
    for check in OF_THE_SITE:
        yield from _answered(check, check(site))
    if database is not None:
        yield from _answered(check_addresses, check_addresses(site, database))


def _answered(check: Callable[..., object], findings: Iterator[Finding]) -> Iterator[Finding]:
    """`findings`; that there was no answer to one request is another one."""
    subject = check.__name__.removeprefix("check_").replace("_", " ")
    try:
        yield from findings
    except SiteError as error:
        remedy = "see the error log of the web server: it gave this one request no answer"
        yield Finding("error", subject, str(error), remedy)


def reach_finding(site: Site, reply: Reply) -> Finding:
    """Whether it is the node that answers, and has routes below this URL.

    Args:
        site: the deployment.
        reply: its answer to the question for its health.

    Raises:
        SiteError: it stopped answering.
    """
    name = reply.headers.get("Server", "an unnamed server")
    if reply.json().get("status") == "ok" or _has_other_routes(site, reply):
        return Finding("ok", "web server", f"{name} passes requests on to the node")
    remedy = "the URL is to be the one below which the routes are, that of url_path; "
    if reply.status in (500, 502, 503, 504):
        remedy = "the web server runs and the node behind it does not: see the error log of the web server; "
    return Finding(
        "error", "web server", f"{site.url}/health answers {reply}", remedy + remedy_for("reach", reply)
    )


def _has_other_routes(site: Site, reply: Reply) -> bool:
    """Whether it is a node that only leaves out the routes about itself."""
    if (reply.problem or {}).get("code") != "not-found":
        return False
    return any(site.ask("GET", path).status != 404 for path in ("/cameras", "/login"))


def check_date(reply: Reply) -> Iterator[Finding]:
    """Whether the clock of the server agrees with ours."""
    try:
        said = parsedate_to_datetime(str(reply.headers["Date"])).replace(tzinfo=None)
    except (TypeError, ValueError):
        return
    skew = (said - now()).total_seconds()
    if abs(skew) > CLOCK_SLACK_SECONDS:
        detail = f"the clock of the web server differs by {skew:+.0f} s from that of this machine"
        yield Finding("warning", "clock of the site", detail, "let NTP keep both: timedatectl set-ntp true")
    else:
        yield Finding("ok", "clock of the site", "agrees with that of this machine")


def check_headers(reply: Reply) -> Iterator[Finding]:
    """Whether the headers that protect browsers arrive."""
    if reply.headers.get("X-Content-Type-Options") != "nosniff":
        remedy = "the web server removes headers of the node: look for Header unset, proxy_hide_header"
        yield Finding("warning", "headers", "X-Content-Type-Options is lost on the way", remedy)
    if any(character.isdigit() for character in reply.server):
        detail = f"tells everybody its version: {reply.headers['Server']}"
        yield Finding("note", "headers", detail, remedy_for("version", reply))


def check_problems(site: Site) -> Iterator[Finding]:
    """Whether the node's own answers to errors arrive; other nodes decide by them what to do next."""
    reply = site.ask("GET", f"/no-such-route-{uuid.uuid4().hex}")
    if (reply.problem or {}).get("code") == "not-found":
        yield Finding("ok", "problem documents", "arrive as the node wrote them")
    else:
        detail = f"the answer to an unknown path is {reply}, not the node's own"
        yield Finding("error", "problem documents", detail, remedy_for("problems", reply))


def check_authorization(site: Site) -> Iterator[Finding]:
    """Whether credentials reach the node: wrong ones have to be answered otherwise than none."""
    for path in ("/login", "/files?limit=1"):
        without, wrong = site.ask("GET", path), site.ask("GET", path, headers=_UNKNOWN_TOKEN)
        if without.status != 404:
            break
    else:
        yield Finding("note", "authorization", "no route here asks for an account")
        return
    if wrong.status == 401 and wrong.problem is None:
        if OUR_REALM in str(wrong.headers.get_all("WWW-Authenticate")):
            yield Finding("note", "authorization", "cannot be told while answers of the node are replaced")
            return
        detail = "the web server asks for passwords itself, and the node never sees any"
        yield Finding("error", "authorization", detail, "remove its own authentication for these paths")
    elif wrong.status == 401 and wrong.problem != without.problem:
        yield Finding("ok", "authorization", "credentials reach the node")
    else:
        detail = "the node does not see the Authorization header: nobody can log in, no other node can push"
        yield Finding("error", "authorization", detail, remedy_for("authorization", wrong))


def check_chunked_uploads(site: Site) -> Iterator[Finding]:
    """Whether bodies pass whose length is not known beforehand; other nodes send such."""
    reply = site.ask("POST", "/import/", headers=_UNKNOWN_TOKEN, body=_slow_body())
    if reply.problem is not None and reply.status not in (411, 501):
        yield Finding("ok", "chunked uploads", "pass")
    else:
        yield Finding("error", "chunked uploads", f"are refused: {reply}", remedy_for("chunked", reply))


def _slow_body() -> Iterator[bytes]:
    """Two chunks. A web server that has all of a short body at once may take it like one of known length."""
    yield b'{"type": '
    time.sleep(PAUSE_SECONDS)
    yield b'"status"}'


def check_upload_size(site: Site) -> Iterator[Finding]:
    """Whether the web server lets as much through as the node takes; asked without sending anything."""
    limits: dict[str, Any] = site.ask("GET", "/capabilities").json().get("limits", {})
    size = limits.get("max_upload_bytes")
    if not isinstance(size, int):
        yield Finding("note", "upload size", "the node does not tell how much it takes (no node routes)")
        return
    path = f"/import/data/{uuid.uuid4().hex}/{'0' * 32}"
    reply = site.announce_upload(path, size, {**_UNKNOWN_TOKEN, "Content-Type": "application/octet-stream"})
    if reply is not None and reply.status == 413 and reply.problem is None:
        detail = f"the web server refuses {size} bytes, which the node would take (max_upload_bytes)"
        yield Finding("error", "upload size", detail, remedy_for("limit", reply))
    else:
        yield Finding("ok", "upload size", f"the web server does not refuse {size} bytes when announced")


def check_encoded_slashes(site: Site) -> Iterator[Finding]:
    """Whether encoded slashes arrive as they were sent."""
    reply = site.ask("GET", "/cameras/a%2F%2Fb%2Fc/status")
    problem = reply.problem or {}
    if problem.get("entity_id") == _SLASHES:
        yield Finding("ok", "encoded slashes", "pass")
    else:
        seen = problem.get("entity_id") or str(reply)
        detail = f"{_SLASHES} arrives as {seen}: searches with slashes in them fail"
        yield Finding("error", "encoded slashes", detail, remedy_for("slashes", reply))


def check_searches(site: Site) -> Iterator[Finding]:
    """Whether searches that are written into the path, braces and quotes encoded, arrive."""
    found = site.ask("GET", "/files/%7B%22limit%22%3A1%7D")
    if found.status == 200 and "files" in found.json():
        yield Finding("ok", "searches", "written into the path pass")
    elif found.problem is None:
        detail = f"a search written into the path is answered {found}"
        yield Finding("error", "searches", detail, remedy_for("slashes", found))


def check_addresses(site: Site, database: MeteorDatabase) -> Iterator[Finding]:
    """Whether the node knows who calls: failed logins are counted by address, and must not be miscounted.

    Logs in once as somebody who does not exist, claiming another address, sees what was written down, and
    strikes that out again.
    """
    own, user = f"address:{site.own_address()}", f"user:doctor-{uuid.uuid4().hex[:12]}"
    spoofed = f"address:{SPOOFED_ADDRESS}"
    if _has_failed(database, own):
        yield Finding("note", "addresses", "cannot be tried while logins from here have failed lately")
        return
    credentials = {"Authorization": _basic(user.partition(":")[2]), "X-Forwarded-For": SPOOFED_ADDRESS}
    is_refused = site.ask("GET", "/login", headers=credentials).status == 401
    counted = {subject for subject in (own, user, spoofed) if _has_failed(database, subject)}
    for subject in counted:
        database.clear_login_failures(subject)
    yield _address_finding(site, own in counted, spoofed in counted, is_refused and user in counted)


def _address_finding(site: Site, is_own: bool, is_spoofed: bool, is_tried: bool) -> Finding:
    if not is_tried:
        detail = "cannot be tried: no logins here, or another database behind the URL"
        return Finding("note", "addresses", detail)
    if is_spoofed:
        detail = "callers can choose the address that their failed logins are counted by"
        return Finding("error", "addresses", detail, _SPOOFING)
    if is_own:
        return Finding("ok", "addresses", "the node sees who calls")
    detail = f"the node takes a caller from {site.own_address()} for somebody else, presumably its proxy"
    return Finding("warning", "addresses", detail, _PROXY)


OF_THE_SITE: Final = (
    check_problems,
    check_authorization,
    check_chunked_uploads,
    check_upload_size,
    check_encoded_slashes,
    check_searches,
    check_contents,
)
"""What a site is asked, in the order in which it is told."""

_SPOOFING: Final = (
    "let the proxy replace X-Forwarded-For, as wsgi/nginx.conf does; without a proxy in front leave "
    "trusted_proxy empty"
)
_PROXY: Final = (
    "set trusted_proxy to the address that the proxy's connections come from, and let it send "
    "X-Forwarded-For and X-Forwarded-Proto, as wsgi/nginx.conf does"
)


def _basic(user_id: str) -> str:
    """Credentials with a password that opens nothing."""
    return f"Basic {base64.b64encode(f'{user_id}:unknown'.encode()).decode('ascii')}"


def _has_failed(database: MeteorDatabase, subject: str) -> bool:
    milliseconds = utc_datetime_to_milliseconds(now())
    try:
        with database.transactions.reading() as connection:
            return bool(throttle.check(connection, [subject], milliseconds))
    except TooManyAttemptsError:
        return True
