"""Deployed nodes: one for each server, shared by tests that must hold on all, and ones of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar

import pytest

from tests.components import started
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS

AnyNode = TypeVar("AnyNode", bound=DeployedNode)

USER, PASSWORD = "importer", "pass word ☄"


@pytest.fixture(scope="session", params=SERVERS)
def node(request: pytest.FixtureRequest) -> Iterator[DeployedNode]:
    """A running node with an account that may import, on each of the five servers in turn."""
    with ExitStack() as stack:
        yield started(stack, lambda: with_account(SERVERS[request.param]()))


def with_account(node: AnyNode) -> AnyNode:
    """`node`, not started yet, with the account that tests import with."""
    node.add_account(USER, PASSWORD, "import", "user")
    return node


@pytest.fixture
def deploy() -> Iterator[Callable[..., DeployedNode]]:
    """Call it with a server class and its options for a running node that ends with the test."""
    with ExitStack() as stack:

        def make(server: type[AnyNode], *arguments: Any, **options: Any) -> AnyNode:
            return started(stack, lambda: server(*arguments, **options))

        yield make
