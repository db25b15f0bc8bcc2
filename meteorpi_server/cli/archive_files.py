"""``meteorpi archive fetch`` and ``verify``: archives as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import click

from meteorpi_client import ArchiveReport, MeteorClient, check_archive, split_link
from meteorpi_client.archive_report import Finding
from meteorpi_model.errors import InvalidDocumentError
from meteorpi_model.values import parse_hex_id
from meteorpi_server.cli.output import Output, json_option, progress, size_text
from meteorpi_server.cli.passwords import first_line
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.settings import Settings

_TOLD_FINDINGS = 20
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}

archive_argument = click.argument(
    "archive", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE"
)


password_option = click.option(
    "--password-file",
    "password",
    type=click.File("r", encoding="utf-8"),
    callback=lambda context, parameter, stream: None if stream is None else first_line(stream.read()),
    help="Take the password of the archive from FILE; - is standard input.",
)


@click.command()
@click.argument("link", metavar="LINK")
@click.option(
    "-o",
    "--output-file",
    "goal",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Where it goes.",
)
@click.option("--node", "node_url", metavar="URL", help="Whose ticket LINK is; this node's if not given.")
@click.option("--ca-file", metavar="FILE", help="Trust the certificate authorities in FILE instead.")
@click.option(
    "--secret-file",
    "secret",
    type=click.File("r", encoding="utf-8"),
    callback=lambda context, parameter, stream: None if stream is None else first_line(stream.read()),
    help="Take the secret of the client that LINK is bound to from FILE; - is standard input.",
)
@password_option
@json_option
@pass_setup
def fetch(
    setup: Setup,
    output: Output,
    link: str,
    goal: Path,
    node_url: str | None,
    ca_file: str | None,
    secret: str | None,
    password: str | None,
) -> int:
    """Fetch the archive that LINK leads to: a web address, or the id of a ticket.

    What was cut off goes on where it was, also when the command is repeated, and the turn of a ticket in the
    queue is waited for. The file gets its name when every byte was read again and is right. Ends with 1 when
    something in the archive failed, or is not as its manifest says.
    """
    base_url, path = _place_of(link, node_url, setup)
    with (
        MeteorClient(base_url, token=secret, verify=ca_file or True) as client,
        progress(goal.name, in_bytes=True) as advance,
    ):
        fetched = client.archives.fetch(path, goal, advance, password=password)
    return tell(output, fetched.path, fetched.report)


@click.command()
@archive_argument
@click.option("--manifest", "needs_manifest", is_flag=True, help="Also fail when it has no manifest.")
@password_option
@json_option
def verify(output: Output, archive: Path, needs_manifest: bool, password: str | None) -> int:
    """Read every byte of the archive FILE and compare it with the manifest in it.

    Ends with 1 when something is damaged, failed while it was made, is not as the manifest says, or is under
    a password that was not given.
    """
    with progress(archive.name, in_bytes=True) as advance:
        report = check_archive(archive, advance, password=password)
    code = tell(output, archive, report)
    if needs_manifest and not report.has_manifest:
        output.warn("it has no manifest")
        return 1
    return code


def _place_of(link: str, node_url: str | None, setup: Setup) -> tuple[str, str]:
    """The address of a server, and the path below it."""
    if "://" in link:
        if node_url is not None:
            raise click.UsageError("--node goes with the id of a ticket, not with an address")
        return split_link(link)
    try:
        ticket_id: UUID = parse_hex_id(link.replace("-", ""), "ticket")
    except InvalidDocumentError as error:
        raise click.UsageError(f"{link!r} is neither a web address nor the id of a ticket") from error
    return (node_url or own_url(setup.settings)), f"/ticket/{ticket_id}/download"


def own_url(settings: Settings) -> str:
    """Where the node of these settings can be reached from this machine."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    address = f"[{host}]" if ":" in host else host
    return f"http://{address}:{settings.port}{settings.url_path.rstrip('/')}"


def tell(output: Output, path: Path, report: ArchiveReport | None) -> int:
    """Say what was found in the file at `path`, and give the exit code."""
    if report is None:
        output.facts({"path": path, "size_bytes": path.stat().st_size})
        return 0
    if output.as_json:
        output.facts({"path": path, **report.as_dict()})
    else:
        _list(output, "damaged", report.damage)
        _list(output, "different", report.differences)
        _list(output, "failed", report.failed)
        _list(output, "left out", report.left_out)
        _list(output, "not read", report.unread)
        state = "right" if report.is_right else "not right"
        output.say(f"{path}: {report.entries} files, {size_text(report.size_bytes)}, {state}")
    return 0 if report.is_right else 1


def _list(output: Output, heading: str, findings: Sequence[Finding]) -> None:
    for finding in findings[:_TOLD_FINDINGS]:
        output.warn(f"{heading}: {finding.name or 'the archive'}: {finding.reason}")
    if len(findings) > _TOLD_FINDINGS:
        output.warn(f"{heading}: {len(findings) - _TOLD_FINDINGS} more")
