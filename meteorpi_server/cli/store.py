"""``meteorpi store``: file stores, looked at and looked after.

Source: B.6 of the storage contract.
"""

from __future__ import annotations

from typing import Any, ClassVar

import click

from meteorpi_model.errors import MeteorError
from meteorpi_server.cli.output import printable
from meteorpi_server.cli.store_checking import check
from meteorpi_server.cli.store_copying import copy
from meteorpi_server.cli.store_recounting import recount
from meteorpi_server.cli.store_verifying import stat, sweep, verify


class CouldNotRunError(click.ClickException):
    """What a command of stores says when it could not do its work, or not to its end."""

    exit_code: ClassVar[int] = 2


class StoreGroup(click.Group):
    """Commands that end with 0, 1 or 2: nothing found, something found, could not run."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what fails is told in one line and ends with 2."""
        try:
            return super().invoke(ctx)
        except MeteorError as error:
            raise CouldNotRunError(printable(f"{error.detail} [{error.code}]")) from error
        except OSError as error:
            raise CouldNotRunError(printable(str(error))) from error


@click.group(cls=StoreGroup)
def store() -> None:
    """File stores: check, verify, sweep and copy them.

    Ends with 0 when nothing needs attention, 1 when something was found, 2 when the command could not run,
    130 when it was interrupted. What was interrupted is repeated in the same way.
    """


for command in (check, verify, sweep, copy, recount, stat):
    store.add_command(command)
