"""``meteorpi verify``: do records and contents agree?"""

from __future__ import annotations

import click

from meteorpi_server.cli.output import Output, json_option, progress
from meteorpi_server.cli.setup import Setup, pass_setup


@click.command()
@click.option("--deep", is_flag=True, help="Read every content and compare its digest; takes long.")
@click.option("--repair", is_flag=True, help="Mend what can be mended.")
@json_option
@pass_setup
def verify(setup: Setup, output: Output, deep: bool, repair: bool) -> int:
    """Find records without content, contents without record, and torn contents.

    Ends with 1 when something is wrong and was not repaired.
    """
    with setup.open_database() as database, progress("verifying") as advance:
        report = database.verify(deep=deep, repair=repair, progress=advance)
    output.facts(report.as_dict())
    return 0 if report.is_clean else 1
