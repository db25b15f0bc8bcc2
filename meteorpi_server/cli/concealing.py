"""Secrets that were given as arguments, taken out of the list of processes.

The predecessor took them so, and scripts that start it still do. Everybody on a machine can read the
arguments of a process, so it begins anew without them, and reads them from pipes of its own.

Source: K-501 of the storage contract.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_serving.names import FILE_SUFFIX, Option, is_of_file, option_called

_MOST_BYTES: Final = 1 << 14
"""A pipe holds at least four times as much before anybody reads it."""


def conceal_secrets() -> None:
    """Return when no argument of this process is a secret; else begin it anew, with the same id.

    Raises:
        ConfigurationError: a secret is too long to be one.
    """
    arguments = sys.orig_argv[1:]
    concealed = with_secrets_in_pipes(arguments)
    if concealed != arguments:
        sys.stdout.flush()
        os.execv(sys.executable, [sys.orig_argv[0], *concealed])


def with_secrets_in_pipes(arguments: Sequence[str]) -> list[str]:
    """The same arguments with a file in place of each secret: the end of a pipe that is open in this process.

    Raises:
        ConfigurationError: a secret is too long to be one.
    """
    concealed: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        name, equals, text = argument.partition("=")
        option = _secret_called(name)
        if option is None:
            concealed.append(argument)
        else:
            secret = text if equals else next(pending, "")
            concealed += [f"--{option.name}{FILE_SUFFIX}", _pipe_with(secret, name)]
    return concealed


def _secret_called(argument: str) -> Option | None:
    """The option whose name `argument` is, if its value is a secret."""
    name = argument.removeprefix("--")
    if name == argument or is_of_file(name):
        return None
    option = option_called(name)
    return option if option is not None and option.is_secret else None


def _pipe_with(secret: str, name: str) -> str:
    content = secret.encode(errors="surrogateescape")
    if len(content) > _MOST_BYTES:
        raise ConfigurationError(f"{name}: that is too long")
    outlet, inlet = os.pipe()
    os.write(inlet, content)
    os.close(inlet)
    os.set_inheritable(outlet, True)
    return f"/dev/fd/{outlet}"
