"""The nodes that this one exports to: whether they are there, and what their clocks say."""

from __future__ import annotations

from collections.abc import Iterator

from meteorpi_db import MeteorDatabase
from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.doctor.site import Site, SiteError
from meteorpi_server.cli.doctor.website import check_date


def check_peers(database: MeteorDatabase) -> Iterator[Finding]:
    """The clock of each node that something is exported to; asked without credentials."""
    states = {state.config_id: state for state in database.get_export_states()}
    targets = {
        each.target_url: states[each.config_id].ca_file
        for each in database.get_export_configurations()
        if each.enabled and each.config_id in states
    }
    for url, ca_file in sorted(targets.items()):
        yield from check_peer(url, ca_file)


def check_peer(url: str, ca_file: str | None) -> Iterator[Finding]:
    """One import route: does it answer, and what is its time?"""
    site = Site(url, ca_file)
    try:
        reply = site.ask("HEAD", "/")
    except SiteError as error:
        detail = f"{url} does not answer: {error}"
        remedy = (
            "nothing is lost: the exporter goes on when it does. Else look at the address and the network"
        )
        yield Finding("note", "export target", detail, remedy)
        return
    for finding in check_date(reply):
        yield Finding(finding.level, f"clock of {site.host}", finding.detail, finding.remedy)
