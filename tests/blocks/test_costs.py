"""What blocks cost, measured in small: the benches work, and memory does not grow with an object."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benches import bench_blocks, bench_blocks_costs
from benches.bench_blocks import Measurement, Target
from benches.bench_blocks_costs import LEVELS, MEBIBYTE
from meteorpi_db.testing.object_servers import ObjectServer
from meteorpi_db.testing.processes import find_program
from meteorpi_model.errors import ConfigurationError
from tests.components import absent
from tests.deployment.deployed import DeployedNode


@pytest.fixture(scope="module")
def node() -> Iterator[tuple[DeployedNode, Target]]:
    """A node under its own server."""
    with bench_blocks.node_of("standalone", "none") as node:
        yield node


@pytest.fixture
def wrk() -> None:
    try:
        find_program("wrk", "wrk")
    except ConfigurationError as error:
        absent(error.detail)


@pytest.mark.contract("I-01", "KD-14")
def test_memory_does_not_grow_with_objects(node: tuple[DeployedNode, Target]) -> None:
    """As much as would be too much for one transfer goes through eight at once."""
    bench_blocks_costs.memory_growth(*node, 8 * MEBIBYTE, 8)  # what is loaded once

    assert bench_blocks_costs.memory_growth(*node, 40 * MEBIBYTE, 8) < 256 * MEBIBYTE
    assert bench_blocks_costs.memory_growth(*node, 72 * MEBIBYTE, 1) < 64 * MEBIBYTE


@pytest.mark.contract("I-03")
def test_levels_of_durability_are_shown_side_by_side(tmp_path: Path) -> None:
    for level in LEVELS:
        for writers in (1, 8):
            assert bench_blocks_costs.writer_rate(tmp_path, level, writers, 8) > 0
    assert not list(tmp_path.iterdir())


@pytest.mark.contract("I-04")
@pytest.mark.usefixtures("wrk")
def test_processor_time_of_requests_is_shown(node: tuple[DeployedNode, Target], tmp_path: Path) -> None:
    spent = bench_blocks.measure_processor(node[1], tmp_path, 20)

    assert spent.keys() == {"GET", "HEAD", "304"}
    assert min(spent.values()) >= 0


@pytest.mark.contract("I-05")
def test_a_page_of_a_long_listing_is_timed(tmp_path: Path) -> None:
    assert bench_blocks_costs.listing_milliseconds(tmp_path, 5000) > 0


@pytest.mark.contract("I-06")
def test_a_store_is_compared_with_its_library(moto_server: ObjectServer) -> None:
    ratios = bench_blocks_costs.s3_ratios(moto_server, 100_000, 2)

    assert ratios.keys() == {"write", "read"}
    assert min(ratios.values()) > 0


@pytest.mark.contract("issue-5/bench")
@pytest.mark.usefixtures("wrk")
def test_a_node_is_compared_with_a_compiled_peer(node: tuple[DeployedNode, Target], tmp_path: Path) -> None:
    with ExitStack() as stack:
        try:
            peer = stack.enter_context(bench_blocks.restic())
        except ConfigurationError as error:
            absent(error.detail)
        for target in (peer, node[1]):
            measurement = Measurement(target, tmp_path, 1)
            assert measurement.write_rate(1 << 16, 8) > 0
            assert measurement.read_rate(8) > 0
