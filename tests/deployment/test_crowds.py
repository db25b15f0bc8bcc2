"""More callers at once than there are threads, on every server: each of them gets an answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.deployment.caller import Caller
from tests.deployment.deployed import DeployedNode
from tests.deployment.servers import SERVERS

CALLERS = 24
REQUESTS = 10


@pytest.mark.contract("issue-3.2/crowds")
@pytest.mark.parametrize("server", SERVERS)
def test_crowds_are_answered_in_turn(deploy: Callable[..., DeployedNode], server: str) -> None:
    node = deploy(SERVERS[server], processes=1, threads=2)

    def ask(_number: int) -> list[int]:
        caller = Caller(node)
        return [caller.get("/events").status for _ in range(REQUESTS)]

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [status for statuses in pool.map(ask, range(CALLERS)) for status in statuses]

    assert answers == [200] * (CALLERS * REQUESTS)
