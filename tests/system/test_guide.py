"""Every Python block of the published configuration guide runs as printed, against a Firebird server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meteorpi_db.testing.processes import wait_until
from tests.components import absent
from tests.system import fastcgi
from tests.system.guide import ENVIRONMENT, GuideWorld, can_have_namespaces, code_blocks

# Python 3 lacks the built-in; this is what the manual of Python 3 offers in its place.
EXECFILE = "def execfile(path, names):\n    exec(compile(open(path).read(), path, 'exec'), names)\n"
# Runs a block, then asks the WSGI application it leaves under the given name, as mod_wsgi would.
ASK = """\
import json, runpy, sys
from werkzeug.test import Client
given = {}
exec(open(sys.argv[2]).read(), given)
names = runpy.run_path(sys.argv[1], init_globals={'execfile': given['execfile']})
reply = Client(names[sys.argv[3]]).get('/cameras')
running = names['exporter'].scheduler.running
names['exporter'].scheduler.shutdown()
print(json.dumps({'status': reply.status_code, 'body': reply.json, 'running': running}))
"""


@pytest.fixture(scope="module")
def world(request: pytest.FixtureRequest) -> Iterator[GuideWorld]:
    request.getfixturevalue("firebird_server")  # proves that the programs are there, and skips otherwise
    if not can_have_namespaces():
        absent("this machine forbids namespaces, in which alone the paths of the guide can be had")
    with GuideWorld() as world:
        yield world


@pytest.fixture(scope="module")
def blocks(shared_seeds: Path) -> list[str]:
    (guide,) = shared_seeds.glob("004_*.txt")
    return code_blocks(guide.read_text(encoding="utf-8"))


@pytest.fixture
def apache_script(blocks: list[str]) -> str:
    (script,) = (block for block in blocks if "application = " in block)
    return script


@pytest.fixture
def lighttpd_script(blocks: list[str]) -> str:
    (script,) = (block for block in blocks if block.startswith("#!"))
    return script


def ask(world: GuideWorld, directory: Path, block: str, name: str) -> dict[str, object]:
    """Run `block` inside `world` and give what ``/cameras`` of its application `name` answers."""
    for file_name, text in {"block.py": block, "execfile.py": EXECFILE, "ask.py": ASK}.items():
        (directory / file_name).write_text(text)
    output = world.run(
        [sys.executable, *(directory / file for file in ("ask.py", "block.py", "execfile.py")), name]
    )
    answer: dict[str, object] = json.loads(output.splitlines()[-1])
    return answer


@pytest.mark.contract("0.1/apache", "11/apache")
def test_apache_script_exposes_an_application_that_answers(
    world: GuideWorld, apache_script: str, tmp_path: Path
) -> None:
    assert ask(world, tmp_path, apache_script, "application") == {
        "status": 200,
        "body": {"cameras": []},
        "running": True,
    }


@pytest.mark.contract("0.1/fastcgi", "11/fastcgi")
def test_lighttpd_script_answers_over_fastcgi_and_ends_on_sigterm(
    world: GuideWorld, lighttpd_script: str, tmp_path: Path
) -> None:
    script = tmp_path / "meteorpi.py"
    script.write_text(lighttpd_script)
    script.chmod(0o755)
    address = tmp_path / "socket"

    with (
        fastcgi.listen(address) as listener,
        # By its hash-bang, and with the listening socket as standard input: as the web server starts it.
        subprocess.Popen(world.command(script), stdin=listener.fileno()) as program,
    ):
        reply = fastcgi.get(address, "/cameras")
        program.send_signal(signal.SIGTERM)
        wait_until(lambda: program.poll() is not None, 10, "end of the FastCGI program")

    assert reply.status == 200
    assert json.loads(reply.body) == {"cameras": []}
    assert program.returncode == 0


@pytest.mark.contract("0.1/imports", "0.1/database", "0.1/app", "0.1/add_routes", "0.1/scheduler")
def test_blocks_of_the_text_run_one_after_another(
    world: GuideWorld, blocks: list[str], apache_script: str, lighttpd_script: str, tmp_path: Path
) -> None:
    in_text = [block for block in blocks if block not in (apache_script, lighttpd_script)]
    assert len(in_text) == 4

    answer = ask(world, tmp_path, "\n".join(in_text), "wsgi_app")

    assert answer == {"status": 200, "body": {"cameras": []}, "running": True}


@pytest.mark.contract("0.1/exporter")
def test_exporter_block_without_the_one_that_starts_it_runs_nothing(
    world: GuideWorld, blocks: list[str], tmp_path: Path
) -> None:
    program = "\n".join(blocks[:3]) + "print('threads', __import__('threading').active_count())\n"
    (tmp_path / "constructed.py").write_text(program)

    output = world.run([ENVIRONMENT / "bin" / "python", tmp_path / "constructed.py"])

    assert output.splitlines()[-1] == "threads 1"
