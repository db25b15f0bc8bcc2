"""The distribution: what its metadata promises is what the packages need and hold."""

from __future__ import annotations

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


def test_extras_that_errors_name_exist(repository: Path) -> None:
    extras = set(distribution("meteorpi").metadata.get_all("Provides-Extra") or [])

    named = {extra for module in modules_of(repository).values() for extra in EXTRA_HINT.findall(module.text)}

    assert named <= extras


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
