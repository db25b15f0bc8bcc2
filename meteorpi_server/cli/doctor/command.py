"""``meteorpi doctor``: every check in its order, as a table or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict

import click

from meteorpi_db import MeteorDatabase
from meteorpi_model import now
from meteorpi_model.errors import MeteorError
from meteorpi_server.cli.doctor import configuration, database, machine, node, peers, storage, website
from meteorpi_server.cli.doctor.finding import Finding, guarded
from meteorpi_server.cli.doctor.site import Site
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup

OF_THE_DATABASE = (
    database.check_database,
    storage.check_store,
    storage.check_space,
    configuration.check_secret_key,
    node.check_clocks,
    node.check_accounts,
    node.check_exports,
    peers.check_peers,
)
"""What an open database, and the store beside it, can be asked; in the order in which it is told."""


@click.command()
@click.option(
    "--url", metavar="URL", help="Also look at the deployment from outside, such as https://host/api."
)
@click.option(
    "--ca-file",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Trust the certificate authorities in FILE instead of those of the system.",
)
@json_option
@pass_setup
def doctor(setup: Setup, output: Output, url: str | None, ca_file: str | None) -> int:
    """Look over the node and say what is wrong and how to mend it; ends with 1 when something is.

    Looks at machine, settings, permissions, disks, database, accounts and exports. With --url it also goes
    through the web server as a caller would: TLS, headers, uploads, ranges. Nothing is changed; one failed
    login of an account that does not exist is tried.
    """
    site = None if url is None else Site(url, ca_file)
    findings = list(examine(setup, site))
    output.rows([asdict(finding) for finding in findings], ("level", "subject", "detail"))
    for finding in findings:
        if finding.remedy:
            output.say(f"{finding.subject}: {finding.remedy}")
    return 1 if any(finding.level in ("warning", "error") for finding in findings) else 0


def examine(setup: Setup, site: Site | None = None) -> Iterator[Finding]:
    """Everything that can be found out, worst luck included: what stops one check does not stop the rest."""
    yield from machine.check_python()
    yield from machine.check_account()
    yield from machine.check_extras()
    yield from machine.check_clock(now())
    yield from machine.check_synchronisation(machine.is_clock_synchronised)
    with ExitStack() as stack:
        opened: list[MeteorDatabase] = []
        yield from examine_node(setup, stack, opened)
        if site is not None:
            yield from guarded(website.check_website, site, opened[0] if opened else None)


def examine_node(setup: Setup, stack: ExitStack, opened: list[MeteorDatabase]) -> Iterator[Finding]:
    """Settings, then the database that they name.

    Args:
        setup: names it.
        stack: closes it at the end.
        opened: gets it, if it could be opened.
    """
    try:
        loaded = setup.loaded
    except MeteorError as error:
        yield Finding("error", "settings", error.detail, "correct the variable or the line, or remove it")
        return
    yield from guarded(configuration.check_configuration, loaded)
    yield from guarded(storage.check_disks, loaded.settings)
    yield from guarded(storage.check_database_file, loaded.settings)
    try:
        opened.append(stack.enter_context(setup.open_database(create=False)))
    except MeteorError as error:
        yield Finding("error", "database", error.detail, database.remedy_for(error))
        return
    for check in OF_THE_DATABASE:
        yield from guarded(check, opened[0])
