"""Which tests prove which requirement: read the ``contract`` markers, and keep docs/conformance by them.

usage: python tools/conformance.py                 print every id with its tests
       python tools/conformance.py --write PAGE..  rewrite the last column of the pages' tables

A page holds tables ``| id | requirement | tests |`` whose first two columns are written by hand. The last one
becomes the tests marked with exactly that id. Without any, a hand-written remark stays: ``not yet: reason``,
which must name the issue that will do it, or ``documented: where``, which is also kept in front of tests.
Sources are parsed, never run.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Contract suites for third parties are packages' modules, and prove requirements like any test.
PLACES = ("tests", "meteorpi_db/testing")
TEST_REFERENCE = re.compile(r"`((?:tests|meteorpi_db/testing)/[^`]+\.py(?:::[^`]+)?)`")
ROW = re.compile(r"^\| *(?P<id>[^|]*?) *\| *(?P<requirement>(?:[^|\\]|\\.)*?) *\| *(?P<tests>.*?) *\|$")
DOCUMENTED = re.compile(r"^documented: [^;]*")
NOTHING = "not yet: no test"

Tests = Mapping[str, list[str]]


def contract_ids(node: ast.AST) -> Iterator[str]:
    """The ids of every ``pytest.mark.contract(...)`` at or below `node`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.contract"):
            for argument in call.args:
                yield str(ast.literal_eval(argument))


def marked_tests(path: Path, name: str) -> Iterator[tuple[str, set[str]]]:
    """Every test of the file at `path`, as ``name::test``, with the ids it is marked with."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    yield from _tests_of(tree, name, _ids_of_assignment(tree))


def _tests_of(
    parent: ast.Module | ast.ClassDef, name: str, inherited: set[str]
) -> Iterator[tuple[str, set[str]]]:
    for node in parent.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield f"{name}::{node.name}", inherited | _ids_of_decorators(node)
        elif isinstance(node, ast.ClassDef):
            ids = inherited | _ids_of_decorators(node) | _ids_of_assignment(node)
            own_tests = list(_tests_of(node, f"{name}::{node.name}", ids))
            yield from own_tests
            # A state machine of hypothesis is one test, and so is a class that inherits all its tests.
            bases = {ast.unparse(base) for base in node.bases}
            if not own_tests and (
                (bases and node.name.startswith("Test")) or "RuleBasedStateMachine" in bases
            ):
                yield f"{name}::{node.name}", ids


def _ids_of_decorators(node: ast.FunctionDef | ast.ClassDef) -> set[str]:
    return {found for decorator in node.decorator_list for found in contract_ids(decorator)}


def _ids_of_assignment(parent: ast.Module | ast.ClassDef) -> set[str]:
    assignments = [node for node in parent.body if isinstance(node, ast.Assign)]
    marked = [node for node in assignments if ast.unparse(node.targets[0]) == "pytestmark"]
    return {found for node in marked for found in contract_ids(node.value)}


def all_tests(root: Path = ROOT) -> dict[str, set[str]]:
    """Every test below `root` with the ids it is marked with."""
    paths = sorted(path for place in PLACES for path in (root / place).rglob("*.py"))
    return {
        test: ids for path in paths for test, ids in marked_tests(path, path.relative_to(root).as_posix())
    }


def tests_by_id(tests: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """The same the other way round, in the order of the files."""
    found: dict[str, list[str]] = defaultdict(list)
    for test, ids in tests.items():
        for contract_id in ids:
            found[contract_id].append(test)
    return dict(found)


def rows(text: str) -> Iterator[re.Match[str]]:
    """The rows of the page's tables that state a requirement."""
    for line in text.splitlines():
        row = ROW.match(line)
        if row and row["id"] != "id" and row["id"].strip("-: "):
            yield row


def known_ids(text: str) -> set[str]:
    """The ids that a marker may name."""
    return {row["id"] for row in rows(text)}


def last_column(contract_id: str, written: str, found: Tests) -> str:
    """What the last column of row `contract_id`, in which `written` stands, becomes."""
    documented = DOCUMENTED.match(written)
    parts = [documented[0].strip()] if documented else []
    if contract_id in found:
        parts += [", ".join(f"`{test}`" for test in found[contract_id])]
    if parts:
        return "; ".join(parts)
    return NOTHING if TEST_REFERENCE.search(written) else written or NOTHING


def updated(text: str, found: Tests) -> str:
    """The page `text` with its last columns written anew."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        for row in rows(line):
            cell = last_column(row["id"], row["tests"], found)
            lines[number] = f"| {row['id']} | {row['requirement']} | {cell} |"
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Run the tool and give its exit status: 1 when a marker names an id that no page knows."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", nargs="+", type=Path, metavar="PAGE", help="rewrite these pages")
    pages: list[Path] = parser.parse_args(arguments).write or []
    found = tests_by_id(all_tests())
    if not pages:
        for contract_id in sorted(found):
            print(contract_id, *found[contract_id], sep="\n  ")
        return 0
    known: set[str] = set()
    for page in pages:
        text = page.read_text(encoding="utf-8")
        known |= known_ids(text)
        page.write_text(updated(text, found), encoding="utf-8")
    unknown = sorted(found.keys() - known)
    for contract_id in unknown:
        print(f"no page knows {contract_id}: {', '.join(found[contract_id])}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
