"""``meteorpi store recount``: is what blocks use counted rightly?"""

from __future__ import annotations

import click

from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

_COLUMNS = ("kind", "name", "used", "right_used", "objects", "right_objects")


@click.command()
@click.option("--fix", is_flag=True, help="Set right what is wrong.")
@json_option
@pass_setup
def recount(setup: Setup, output: Output, fix: bool) -> int:
    """Count the bytes and objects of every account and prefix of blocks, and compare them with its counters.

    Differences are listed. Uploads go on meanwhile; with --fix they wait. Ends with 1 when something was
    wrong and was not set right.
    """
    with setup.open_database(create=False) as database:
        wrong = database.recount_blocks(fix=fix)
        if fix and wrong:
            database.record_audit(ACTOR, "blocks.recount", f"{len(wrong)} counters")
    if output.as_json:
        found = [each.as_dict() for each in wrong]
        output.facts({"differences": found, "fixed": fix, "clean": fix or not wrong})
    elif wrong:
        output.rows([each.as_dict() for each in wrong], _COLUMNS)
    else:
        output.say("all counters are right")
    return 1 if wrong and not fix else 0
