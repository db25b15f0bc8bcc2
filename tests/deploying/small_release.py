"""What a small release does in place of MeteorPi; becomes ``meteorpi_server/cli.py`` of its commits.

Its database is a file with a list of steps; its service a file that says which release runs. What each
command did is written to a log. A file ``kill`` in the place names a moment at which the program kills its
caller.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tomllib
from pathlib import Path
from typing import Any

State = dict[str, Any]

TREE = Path(__file__).parent.parent
SETTINGS = tomllib.loads(Path(os.environ["METEORPI_CONFIG"]).read_text())
PLACE = Path(SETTINGS["place"])
KNOWN = json.loads((TREE / "steps.json").read_text())
DATABASE, RUNNING, LOG, KILL = (PLACE / name for name in ("database", "running", "log", "kill"))


def moment(name: str) -> None:
    if KILL.exists() and KILL.read_text() == name:
        KILL.unlink()
        os.kill(os.getppid(), signal.SIGKILL)


def database() -> State:
    found: State = {"steps": None, "rows": []}
    if DATABASE.exists():
        found = json.loads(DATABASE.read_text())
    return found


def version(found: State) -> int:
    return 0 if found["steps"] is None else 1 + len(found["steps"])


def oldest_for(found: State) -> int:
    steps = list(found["steps"] or [])
    while steps and steps[-1]["tolerated"]:
        steps.pop()
    return 1 + len(steps) if found["steps"] is not None else 0


def log(text: str) -> None:
    with LOG.open("a") as stream:
        stream.write(f"{text} {(TREE / 'name').read_text()}\n")


def current(found: State) -> None:
    numbered = [{"version": number, **step} for number, step in enumerate(KNOWN, 2)]
    said = {"version": version(found), "oldest_for": oldest_for(found), "newest": 1 + len(KNOWN)}
    sys.stdout.write(json.dumps({**said, "steps": numbered}))


def up(found: State) -> None:
    moment("before up")
    if SETTINGS.get("broken") == "up":
        sys.exit("this step does not work")
    steps = found["steps"] or []
    assert steps == KNOWN[: len(steps)], "another branch made this schema"
    DATABASE.write_text(json.dumps({**found, "steps": KNOWN}))
    log("up")
    moment("after up")


def down(found: State, to: int, forced: bool) -> None:
    assert found["steps"] == KNOWN[: len(found["steps"])], "another branch made this schema"
    kept = found["steps"][: to - 1]
    lost = [row for row in found["rows"] if row in [step["description"] for step in found["steps"][to - 1 :]]]
    if lost and not forced:
        sys.exit(f"going back would lose rows: {lost}")
    DATABASE.write_text(
        json.dumps({"steps": kept, "rows": [row for row in found["rows"] if row not in lost]})
    )
    log(f"down to {to}{' forced' if forced else ''}")


def start(found: State) -> None:
    moment("before start")
    assert oldest_for(found) <= 1 + len(KNOWN), "the schema is too new"
    if RUNNING.exists() and sys.argv[-1] == "start":
        return  # as service managers do
    if (TREE / "broken").exists():
        sys.exit("it does not start")
    log("start")
    RUNNING.write_text(os.environ["METEORPI_RELEASE"] if not (TREE / "mute").exists() else "nobody")
    moment("after start")


def stop() -> None:
    moment("before stop")
    log("stop")
    RUNNING.unlink(missing_ok=True)


match sys.argv[1:]:
    case ["schema", "current", "--json"]:
        moment("asked")
        current(database())
    case ["schema", "up"]:
        up(database())
    case ["schema", "down", "--to", number, *rest]:
        down(database(), int(number), "--force" in rest)
    case ["start"]:
        start(database())
    case ["reload"]:
        start(database())
    case ["stop"]:
        stop()
    case other:
        sys.exit(f"unknown command {other}")
