"""``meteorpi store check``: can a file store be used?"""

from __future__ import annotations

import click

from meteorpi_db.filestore import open_file_store
from meteorpi_db.filestore.examining import examine_store
from meteorpi_server.cli.output import Output, json_option
from meteorpi_server.cli.setup import Setup, pass_setup


@click.command()
@click.argument("location", required=False)
@json_option
@pass_setup
def check(setup: Setup, output: Output, location: str | None) -> int:
    """Reach the file store LOCATION, or that of the node; write, read and delete a small content in it.

    Also says what the store can do, how long each step took, and by how much its clock differs. Ends with 1
    when it cannot be used as it is.
    """
    found = examine_store(open_file_store(location or setup.settings.file_store))
    output.facts(found.as_dict())
    return 0 if found.is_clean else 1
