"""The distribution: what its metadata promises is what the packages need and hold."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

from tests.architecture import PACKAGES, modules_of

EXTRA_HINT = re.compile(r"pip install 'meteorpi\[(\w+)\]'")


def normalized(name: str) -> str:
    """The name of a distribution as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.contract("issue-2.1")
def test_every_imported_library_is_declared(repository: Path) -> None:
    requirements = distribution("meteorpi").requires or []
    declared = {normalized(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}
    # Flask stands on it, and says that its own interface does.
    declared |= {"meteorpi", "werkzeug", "jinja2", "markupsafe"}
    providers = packages_distributions()

    missing = {
        f"{name} imports {top}"
        for name, module in modules_of(repository).items()
        for item in module.imports()
        if (top := item.target.split(".")[0]) not in sys.stdlib_module_names and not item.is_for_types
        if not {normalized(provider) for provider in providers.get(top, [])} & declared
    }

    assert missing == set()


@pytest.mark.contract("issue-2.1")
def test_extras_that_errors_name_exist(repository: Path) -> None:
    extras = set(distribution("meteorpi").metadata.get_all("Provides-Extra") or [])

    named = {extra for module in modules_of(repository).values() for extra in EXTRA_HINT.findall(module.text)}

    assert named <= extras


@pytest.mark.contract("issue-2.1")
def test_one_distribution_brings_all_packages_extras_and_the_console_script() -> None:
    found = distribution("meteorpi")

    assert found.metadata["Requires-Python"] == ">=3.11"
    assert {"firebird", "postgresql", "s3", "apache", "fastcgi", "worker", "dev"} <= set(
        found.metadata.get_all("Provides-Extra") or []
    )
    scripts = {entry.name: entry.value for entry in found.entry_points if entry.group == "console_scripts"}
    assert scripts == {"meteorpi": "meteorpi_server.cli:main"}
    assert {name for package in PACKAGES for name in packages_distributions()[package]} == {"meteorpi"}


@pytest.mark.contract("issue-2.1")
def test_everything_that_packages_read_is_installed_with_them(repository: Path, tmp_path: Path) -> None:
    """Pages and schemas are found by the installed package too, not only in a checkout."""
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_py", "--build-lib", str(tmp_path)],
        check=True,
        cwd=repository,
        capture_output=True,
        timeout=120,
    )

    def data(root: Path) -> set[str]:
        files = (path for package in PACKAGES for path in (root / package).rglob("*") if path.is_file())
        return {str(path.relative_to(root)) for path in files if path.suffix not in (".py", ".pyc")}

    assert data(tmp_path) == data(repository)


@pytest.mark.contract("issue-2.10")
@pytest.mark.parametrize("target", ["demo", "test", "lint", "bench", "docs", "conformance"])
def test_make_does_everything_with_the_environment_in_the_checkout(repository: Path, target: str) -> None:
    # The suite itself may run under make, whose flags would reach this one.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }

    planned = subprocess.run(
        ["make", "--dry-run", "--always-make", target],
        check=True,
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
    ).stdout

    assert ".venv/bin/" in planned.splitlines()[-1]


@pytest.mark.contract("issue-2.10")
def test_continuous_integration_runs_the_tests_and_accepts_no_missing_component(repository: Path) -> None:
    script = repository / ".ci" / "run"

    assert script.stat().st_mode & 0o111
    lines = script.read_text().splitlines()
    assert "export CI=true" in lines
    assert lines[-1] == "exec make test"


@pytest.mark.contract("issue-2.1")
@pytest.mark.parametrize("package", PACKAGES)
def test_packages_announce_their_types(repository: Path, package: str) -> None:
    assert (repository / package / "py.typed").is_file()


def test_shell_scripts_can_be_read(repository: Path) -> None:
    scripts = [*(repository / "tools").glob("*"), repository / ".ci" / "run"]
    shell = [
        path for path in scripts if path.is_file() and path.read_text().startswith("#!/usr/bin/env bash")
    ]

    assert len(shell) >= 3
    for path in shell:
        subprocess.run(["bash", "-n", path], check=True)


def test_unknown_group_of_system_packages_is_refused(repository: Path) -> None:
    done = subprocess.run(
        [repository / "tools" / "system-packages", "no-such-group"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "unknown group: no-such-group" in done.stderr
