"""The rules of the tree that no linter knows: who may import whom, and the shape of modules and functions."""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from tests.architecture import Module, body_lines, cycles, modules_of

MAY_IMPORT = {
    "meteorpi_model": set[str](),
    "meteorpi_db": {"meteorpi_model"},
    "meteorpi_client": {"meteorpi_model"},
    "meteorpi_server": {"meteorpi_model", "meteorpi_db"},
}
# Where drivers and their errors end: above, only our own exceptions are seen.
DATABASE_LIBRARIES = {"sqlalchemy", "fdb", "psycopg", "sqlite3", "sqlalchemy_firebird"}
ONLY_HTTP_OF_DB = re.compile(r"meteorpi_db\.(exporter|export_\w+|exporting|filestore\.s3)\b")
SETTINGS = "meteorpi_server.settings"
COMMAND_LINE = re.compile(r"^meteorpi_(server\.cli|client\.commands)(\.|$)")
BROAD_CATCHERS = re.compile(r"^meteorpi_server\.(app|problems)$|^meteorpi_db\.export")
MODULE_LINES = 400
FUNCTION_LINES = 60


@pytest.fixture(scope="module")
def modules(repository: Path) -> dict[str, Module]:
    return modules_of(repository)


def is_command_line(module: Module) -> bool:
    return bool(COMMAND_LINE.match(module.name))


def in_module(name: str, modules: dict[str, Module]) -> str | None:
    """The module that `name`, a module or something in one, belongs to; None outside the packages."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


def edges(modules: dict[str, Module]) -> dict[str, set[str]]:
    """Which module needs which other, now or when a function is called; not for type checkers only.

    That `from package import module` also runs the package's ``__init__`` is left out: it holds no logic.
    """
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, module in modules.items():
        for item in module.imports():
            target = in_module(item.target, modules)
            if target and target != name and not item.is_for_types:
                found[name].add(target)
        named = {target.rpartition(".")[0] for target in found[name]}
        found[name] -= {
            target for target in named & found[name] if modules[target].path.name == "__init__.py"
        }
    return found


def test_packages_import_in_one_direction_only(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{item.line} {module.package} imports {item.target}"
        for module in modules.values()
        for item in module.imports()
        if (top := item.target.split(".")[0]) in MAY_IMPORT
        and top not in MAY_IMPORT[module.package] | {module.package}
        and not (is_command_line(module) and top == "meteorpi_client")
    ]

    assert not offences


def test_command_line_is_on_top_of_the_tree(modules: dict[str, Module]) -> None:
    """It may use the client (decision 7), so whatever imports it would, too."""
    offences = [
        f"{module.path}:{item.line} imports {item.target}"
        for module in modules.values()
        if not is_command_line(module)
        for item in module.imports()
        if item.target.startswith("meteorpi_server.cli")
    ]

    assert not offences


@pytest.mark.contract("1/model")
def test_model_needs_the_standard_library_only(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{item.line} imports {item.target}"
        for module in modules.values()
        if module.package == "meteorpi_model"
        for item in module.imports()
        if item.target.split(".")[0] not in sys.stdlib_module_names | {"meteorpi_model"}
    ]

    assert not offences


def test_modules_import_each_other_without_cycles(modules: dict[str, Module]) -> None:
    assert cycles(edges(modules)) == []


def test_route_packages_do_not_import_each_other(modules: dict[str, Module]) -> None:
    routes = {
        ".".join(name.split(".")[:2])
        for name, module in modules.items()
        if module.package == "meteorpi_server" and re.search(r"^def add_routes\(", module.text, re.MULTILINE)
    }

    offences = [
        f"{module.path}:{item.line} imports {item.target}"
        for name, module in modules.items()
        if (own := ".".join(name.split(".")[:2])) in routes
        for item in module.imports()
        if (other := ".".join(item.target.split(".")[:2])) in routes and other != own
    ]

    assert not offences


def test_database_libraries_stay_below_the_server(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{item.line} imports {item.target}"
        for module in modules.values()
        if module.package != "meteorpi_db"
        for item in module.imports()
        if item.target.split(".")[0] in DATABASE_LIBRARIES
    ]

    assert not offences


def test_only_exporter_and_s3_speak_http_in_the_database_package(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{item.line} imports {item.target}"
        for name, module in modules.items()
        if module.package == "meteorpi_db" and not ONLY_HTTP_OF_DB.match(name)
        for item in module.imports()
        if item.target.split(".")[0] in {"requests", "urllib3", "http", "flask", "werkzeug"}
        or item.target.startswith("urllib.request")
    ]

    assert not offences


def test_environment_is_read_by_settings_and_the_command_line_only(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{node.lineno} {ast.unparse(node)}"
        for module in modules.values()
        if module.name != SETTINGS and not is_command_line(module)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
        if not is_assigned_to(node, module)
    ]

    assert not offences


def is_assigned_to(node: ast.AST, module: Module) -> bool:
    """Whether ``os.environ`` at `node` is only written: it configures libraries in C (Firebird's root)."""
    for statement in ast.walk(module.tree):
        match statement:
            case ast.Assign(targets=[ast.Subscript(value=value)]) if value is node:
                return True
            case ast.Call(func=ast.Attribute(value=value, attr="setdefault")) if value is node:
                return True
    return False


def test_only_the_command_line_prints(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{node.lineno}"
        for module in modules.values()
        if not is_command_line(module)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]

    assert not offences


def test_only_the_edge_and_the_export_round_catch_everything(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{handler.lineno}"
        for name, module in modules.items()
        if not BROAD_CATCHERS.match(name)
        for handler in ast.walk(module.tree)
        if isinstance(handler, ast.ExceptHandler)
        and catches_everything(handler)
        # Cleaning up and raising the same error again hides nothing.
        and not (isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None)
    ]

    assert not offences


def catches_everything(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or ast.unparse(handler.type) in {"Exception", "BaseException"}


def test_errors_raised_while_handling_another_name_their_cause(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{node.lineno}"
        for module in modules.values()
        for handler in ast.walk(module.tree)
        if isinstance(handler, ast.ExceptHandler)
        for node in ast.walk(handler)
        if isinstance(node, ast.Raise) and node.exc is not None and node.cause is None
    ]

    assert not offences


def test_every_public_name_has_a_docstring(modules: dict[str, Module]) -> None:
    missing = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in modules.values()
        for node in module.public_definitions()
        if ast.get_docstring(node) is None and not is_overload(node) and not is_test(node)
    ] + [str(module.path) for module in modules.values() if ast.get_docstring(module.tree) is None]

    assert not missing


def is_overload(node: ast.AST) -> bool:
    """Whether `node` repeats a documented signature or follows a documented property."""
    names = [ast.unparse(decorator) for decorator in getattr(node, "decorator_list", ())]
    return any(name.rpartition(".")[2] in {"overload", "override", "setter"} for name in names)


def is_test(node: ast.AST) -> bool:
    """Whether `node` is a test of a contract suite, whose name says the behaviour."""
    return isinstance(node, ast.FunctionDef) and node.name.startswith("test_")


def test_package_files_hold_no_logic(modules: dict[str, Module]) -> None:
    offences = [
        f"{module.path}:{node.lineno} {node.name}"
        for module in modules.values()
        if module.path.name == "__init__.py" and module.path.parent.name != "cli"
        for node in module.tree.body
        if isinstance(node, ast.FunctionDef) and node.name not in {"add_routes", "__getattr__", "__dir__"}
    ]

    assert not offences


def test_modules_and_functions_stay_readable(modules: dict[str, Module]) -> None:
    sizes = {str(module.path): module.text.count("\n") for module in modules.values()}
    bodies = {
        f"{module.path}:{function.lineno} {function.name}": body_lines(function)
        for module in modules.values()
        for function in module.functions()
    }

    assert {path: lines for path, lines in sizes.items() if lines > MODULE_LINES} == {}
    assert {where: lines for where, lines in bodies.items() if lines > FUNCTION_LINES} == {}
    assert share(bodies.values(), 20) >= 0.9
    assert share(bodies.values(), 40) >= 0.98
    assert statistics.median(bodies.values()) <= 10


def share(values: Collection[int], limit: int) -> float:
    return sum(value <= limit for value in values) / len(values)


@pytest.mark.parametrize(
    ("edges", "expected"),
    [({"a": {"b"}, "b": set()}, []), ({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [["a", "b", "c"]])],
)
def test_cycles_are_found(edges: dict[str, set[str]], expected: list[list[str]]) -> None:
    assert cycles(edges) == expected
