"""Contents through the web server: whole, in ranges, and without the marks of how they are sent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final

from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.servers import remedy_for
from meteorpi_server.cli.doctor.site import LONGEST_BODY, Reply, Site

OFFLOAD_HEADERS: Final = ("X-Sendfile", "X-LIGHTTPD-send-file", "X-Accel-Redirect", "X-Sendfile2")
"""What a node tells the web server with, and callers must not see: it shows where files are."""

_SANDBOX: Final = "sandbox"
_NO_OFFLOAD: Final = 'file_offload = "" in the configuration, which lets the node send contents itself'


def check_contents(site: Site) -> Iterator[Finding]:
    """Whether a content arrives: all of it, a part of it, and protected."""
    files: list[dict[str, Any]] = site.ask("GET", "/files?limit=20").json().get("files", [])
    fitting = [file for file in files if 0 < int(file.get("file_size", 0)) <= LONGEST_BODY]
    if not fitting:
        yield Finding("note", "contents", "no file is held that could be fetched to try it")
        return
    file = min(fitting, key=lambda each: int(each["file_size"]))
    path = f"/files/content/{file['file_id']}"
    whole = site.ask("GET", path)
    yield from check_offload(whole)
    arrived = whole_finding(whole, int(file["file_size"]), str(file.get("md5", "")))
    yield arrived
    if arrived.level == "ok":
        yield range_finding(site.ask("GET", path, headers={"Range": "bytes=0-0"}), whole)
    if _SANDBOX not in str(whole.headers.get("Content-Security-Policy", "")):
        detail = "arrive without the Content-Security-Policy that keeps an uploaded page from running"
        remedy = "the web server replaces the header: let it add its own policy for other paths only"
        yield Finding("warning", "contents", detail, remedy)


def check_offload(reply: Reply) -> Iterator[Finding]:
    """Whether the order to send a file stays between node and web server."""
    for name in OFFLOAD_HEADERS:
        if name in reply.headers:
            detail = f"the header {name} reaches callers, and shows where files are kept"
            yield Finding("error", "contents", detail, f"{remedy_for('offload', reply)}; or {_NO_OFFLOAD}")


def whole_finding(reply: Reply, size: int, md5: str) -> Finding:
    """Whether all of a content arrived.

    Args:
        reply: the answer.
        size: of the content, in bytes.
        md5: of the content, in hexadecimal digits; empty if not known.
    """
    if reply.status == 404 and (reply.problem or {}).get("code") == "not-found":
        return Finding(
            "error", "contents", "a file that is listed is not there", "meteorpi verify finds all of them"
        )
    if reply.status == 200 and not reply.body:
        detail = "the web server sends nothing for a file that the node handed over to it"
        return Finding("error", "contents", detail, f"{remedy_for('offload', reply)}; or {_NO_OFFLOAD}")
    if reply.status != 200:
        return Finding("error", "contents", f"a file is answered with {reply}", remedy_for("offload", reply))
    if len(reply.body) != size or (md5 and hashlib.md5(reply.body).hexdigest() != md5):
        detail = f"a file of {size} bytes arrives as other {len(reply.body)} bytes"
        return Finding(
            "error", "contents", detail, "let the web server neither compress nor rewrite contents"
        )
    return Finding("ok", "contents", "arrive whole")


def range_finding(reply: Reply, whole: Reply) -> Finding:
    """Whether the first byte alone could be had; downloads that were cut off go on where they were."""
    if reply.status == 206 and reply.body == whole.body[:1] and "Content-Range" in reply.headers:
        return Finding("ok", "ranges", "pass")
    return Finding(
        "error", "ranges", f"a part of a file is answered with {reply}", remedy_for("ranges", reply)
    )
