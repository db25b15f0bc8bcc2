"""Real components that tests need: started for them, or their absence made plain."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import NoReturn, TypeVar

import pytest

from meteorpi_db.testing.processes import PrivateServer
from meteorpi_model.errors import ConfigurationError

AnyServer = TypeVar("AnyServer", bound=PrivateServer)


def is_everything_required() -> bool:
    """Whether a missing component is a failure."""
    return os.environ.get("CI") == "true" or os.environ.get("TEST_REQUIRE_ALL") == "1"


def absent(reason: str) -> NoReturn:
    """Give up a test for want of a component that `make test` would have installed."""
    if is_everything_required():
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def started(stack: ExitStack, make: Callable[[], AnyServer]) -> AnyServer:
    """Start a private server that lives as long as `stack`."""
    try:
        server = make()
        stack.enter_context(server)
    except ConfigurationError as error:
        absent(error.detail)
    return server
