"""What test_architecture.py looks at: the packages' sources as syntax trees. Nothing is imported or run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("meteorpi_model", "meteorpi_db", "meteorpi_client", "meteorpi_server")

AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Import:
    """One imported module: absolute dotted name, line, and whether it is there for type checkers only."""

    target: str
    line: int
    is_for_types: bool


@dataclass(frozen=True)
class Module:
    """One source file of the packages."""

    path: Path
    name: str

    @cached_property
    def text(self) -> str:
        """The source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)

    @property
    def package(self) -> str:
        """The top-level package."""
        return self.name.split(".")[0]

    def functions(self) -> Iterator[AnyFunction]:
        """Every function and method, nested ones included."""
        return (node for node in ast.walk(self.tree) if isinstance(node, AnyFunction))

    def public_definitions(self) -> Iterator[AnyFunction | ast.ClassDef]:
        """Functions and classes at module level, and methods of classes, whose names are not private."""
        pending: list[ast.AST] = [self.tree]
        while pending:
            for node in ast.iter_child_nodes(pending.pop()):
                if isinstance(node, AnyFunction | ast.ClassDef) and not node.name.startswith("_"):
                    yield node
                    if isinstance(node, ast.ClassDef):
                        pending.append(node)

    def imports(self) -> Iterator[Import]:
        """Every import, wherever it stands, `from package import submodule` under both readings."""
        yield from self._imports_below(self.tree, is_for_types=False)

    def _imports_below(self, node: ast.AST, is_for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import | ast.ImportFrom):
                for target in imported_names(child, self):
                    yield Import(target, child.lineno, is_for_types)
            guard = isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING")
            yield from self._imports_below(child, is_for_types or guard)


def imported_names(node: ast.Import | ast.ImportFrom, module: Module) -> list[str]:
    """The absolute names that the statement `node` of `module` imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    base = node.module or ""
    if node.level:
        parts = module.name.split(".")
        depth = node.level - (module.path.name == "__init__.py")
        base = ".".join([*parts[: len(parts) - depth], *([base] if base else [])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def modules_of(root: Path, packages: tuple[str, ...] = PACKAGES) -> dict[str, Module]:
    """The modules of `packages` below the checkout `root`, by dotted name."""
    found = {}
    for path in sorted(path for package in packages for path in (root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = Module(path, name)
    return found


def body_lines(function: AnyFunction) -> int:
    """The number of lines of the body of `function`, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function, clean=False) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of nodes that reach each other (Tarjan, SIAM J. Comput. 1 (1972) 146), larger than one."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(edges.get(node, ())):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(group)

    for node in sorted(edges):
        if node not in index:
            visit(node)
    return found
