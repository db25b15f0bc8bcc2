"""docs/conformance says which test proves which requirement; here that page is held to the tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import conformance

PAGES = "docs/conformance"
MOST_TESTS = 12


@pytest.fixture(scope="module")
def tests(repository: Path) -> dict[str, set[str]]:
    return conformance.all_tests(repository)


@pytest.fixture(scope="module")
def pages(repository: Path) -> dict[str, str]:
    found = {path.name: path.read_text(encoding="utf-8") for path in (repository / PAGES).glob("*.md")}
    assert found
    return found


def test_every_test_named_on_a_page_exists(tests: dict[str, set[str]], pages: dict[str, str]) -> None:
    there = tests.keys() | {test.partition("::")[0] for test in tests}
    named = {
        (page, test) for page, text in pages.items() for test in conformance.TEST_REFERENCE.findall(text)
    }

    assert sorted((page, test) for page, test in named if test not in there) == []


def test_every_marker_names_a_requirement_of_a_page(
    tests: dict[str, set[str]], pages: dict[str, str]
) -> None:
    known = set[str]().union(*map(conformance.known_ids, pages.values()))

    assert {test: unknown for test, ids in tests.items() if (unknown := ids - known)} == {}


def test_every_requirement_is_listed_once(pages: dict[str, str]) -> None:
    ids = [row["id"] for text in pages.values() for row in conformance.rows(text)]

    assert sorted({contract_id for contract_id in ids if ids.count(contract_id) > 1}) == []


def test_every_requirement_has_tests_or_a_page_or_waits_for_an_issue(pages: dict[str, str]) -> None:
    bare = [
        (page, row["id"])
        for page, text in pages.items()
        for row in conformance.rows(text)
        if not conformance.TEST_REFERENCE.search(row["tests"])
        and not row["tests"].startswith("documented: docs/")
        and not re.match(r"not yet: .*\bissue\b", row["tests"])
    ]

    assert bare == []


def test_no_requirement_names_more_tests_than_anybody_reads(pages: dict[str, str]) -> None:
    counts = {
        row["id"]: len(conformance.TEST_REFERENCE.findall(row["tests"]))
        for text in pages.values()
        for row in conformance.rows(text)
    }

    assert {contract_id: count for contract_id, count in counts.items() if count > MOST_TESTS} == {}


@pytest.mark.parametrize(
    ("contract_id", "written", "expected"),
    [
        ("B-01", "not yet: later", "`tests/a.py::test_a`, `tests/b.py::test_b`"),
        ("2.1/now", "not yet: later", "not yet: later"),
        ("B-02", "not yet: later", "not yet: later"),
        ("B-02", "`tests/gone.py::test_gone`", conformance.NOTHING),
        ("B-02", "", conformance.NOTHING),
        ("B-02", "documented: there", "documented: there"),
        ("B-01", "documented: there", "documented: there; `tests/a.py::test_a`, `tests/b.py::test_b`"),
    ],
)
def test_last_column_names_tests_before_remarks(contract_id: str, written: str, expected: str) -> None:
    found = {
        "B-01": ["tests/a.py::test_a", "tests/b.py::test_b"],
        "2.1": ["tests/a.py::test_a", "tests/a.py::test_c"],
    }

    assert conformance.last_column(contract_id, written, found) == expected


def test_rewriting_a_page_again_changes_nothing(tests: dict[str, set[str]], pages: dict[str, str]) -> None:
    found = conformance.tests_by_id(tests)

    for text in pages.values():
        once = conformance.updated(text, found)

        assert conformance.updated(once, found) == once


def test_markers_of_functions_classes_and_modules_add_up(tmp_path: Path) -> None:
    source = tmp_path / "test_it.py"
    source.write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.contract('1')\n"
        "@pytest.mark.contract('2', '3')\n"
        "def test_function(): ...\n"
        "class TestClass:\n"
        "    pytestmark = [pytest.mark.contract('4')]\n"
        "    @pytest.mark.parametrize('x', [pytest.param(1, marks=pytest.mark.contract('5'))])\n"
        "    def test_method(self, x): ...\n"
        "def helper(): ...\n"
    )

    assert dict(conformance.marked_tests(source, "it.py")) == {
        "it.py::test_function": {"1", "2", "3"},
        "it.py::TestClass::test_method": {"1", "4", "5"},
    }
