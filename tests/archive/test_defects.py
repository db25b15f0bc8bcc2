"""Each defect of the predecessors, by its number, has a test here that it does not come back.

Source:
    Sections 2 and 6.3 of the archive contract.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import conformance

COUNT = 25
PREFIX = "archive-defect-"


@pytest.mark.contract("archive-6.3")
def test_every_defect_has_its_test(repository: Path) -> None:
    marked: dict[str, list[str]] = {f"{PREFIX}{number}": [] for number in range(1, COUNT + 1)}

    for test, ids in conformance.all_tests(repository).items():
        for contract_id in ids:
            if contract_id.startswith(PREFIX):
                marked[contract_id].append(test)  # a number that there is not would be a KeyError

    assert [defect for defect, tests in marked.items() if not tests] == []
