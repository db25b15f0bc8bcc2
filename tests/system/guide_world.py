"""Inside new network and mount namespaces: make the machine of the guide, and keep it until stdin ends.

Run by `tests.system.guide.GuideWorld`, never by pytest.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from meteorpi_db.testing.servers import FirebirdServer
from tests.engines import create_schema
from tests.system.guide import DATABASE_DIRECTORY, DB_PATH, ENVIRONMENT, FIREBIRD_PORT, HOME

# What `activate_this.py`, which virtualenv makes, is for: the environment's packages can be imported.
ACTIVATE_THIS = f"import site\nsite.addsitedir({sysconfig.get_path('purelib')!r})\n"


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def hide(path: Path) -> None:
    """Put an empty file system in memory over the directory `path`."""
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", path)


def make_home() -> None:
    """Make an empty home directory of `meteorpi` beside the real ones, which may hold this checkout."""
    outside = Path("/mnt")
    hide(outside)
    kept = outside / "home"
    kept.mkdir()
    run("mount", "--rbind", "/home", kept)
    hide(Path("/home"))
    for home in kept.iterdir():
        if home.is_dir():
            (Path("/home") / home.name).mkdir()
            run("mount", "--rbind", home, Path("/home") / home.name)
    HOME.mkdir(exist_ok=True)
    hide(HOME)


def make_environment() -> None:
    """Make the guide's virtual environment out of links to the one that runs the tests."""
    (ENVIRONMENT / "bin").mkdir(parents=True)
    for part in ("lib", "pyvenv.cfg"):
        (ENVIRONMENT / part).symlink_to(Path(sys.prefix) / part)
    (ENVIRONMENT / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (ENVIRONMENT / "bin" / "activate_this.py").write_text(ACTIVATE_THIS)


def main() -> None:
    run("ip", "link", "set", "lo", "up")
    make_home()
    make_environment()
    hide(Path("/var/lib/firebird"))
    with FirebirdServer(port=FIREBIRD_PORT) as server:
        server.make_directory(DATABASE_DIRECTORY)
        create_schema(DB_PATH)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
