"""What other processes do while a test looks on; run as ``python -m tests.db.workers TASK DB_PATH ...``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, func, insert, select, update

from meteorpi_db.connections import Transactions, open_database
from meteorpi_db.dialects import ExactText, RowId
from meteorpi_db.migrations import Schema, SchemaEditor, Step, ensure_schema
from meteorpi_db.testing.servers import PASSWORD, USER
from meteorpi_model.errors import UnavailableError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
FORKED_CHILD_REFUSED = 7

metadata = MetaData()
counter = Table(
    "counter",
    metadata,
    Column("name", ExactText(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
)
entry = Table(
    "entry",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("author", ExactText(64), nullable=False),
)
SCHEMA = Schema(metadata)


def slow_step(editor: SchemaEditor) -> None:
    """Announces itself and waits to be told to go on, or to be killed."""
    editor.add_column("counter", "remark", ExactText(100))
    tell("in step")
    wait_for_word()
    editor.execute(update(counter).values(number=counter.c.number + 1))


SLOW_SCHEMA = Schema(metadata, (Step("add a remark, slowly", slow_step),))


def open_plainly(db_path: str, **options: Any) -> Transactions:
    """Open with the account of the private servers."""
    return open_database(db_path, USER, PASSWORD, **options)


def increment(connection: Connection) -> None:
    """Read, then write what was read plus one: an update is lost unless conflicts are noticed."""
    number = connection.execute(select(counter.c.number).where(counter.c.name == "shared")).scalar_one()
    connection.execute(update(counter).where(counter.c.name == "shared").values(number=number + 1))
    connection.execute(insert(entry).values(author="anybody"))


def number_of(transactions: Transactions) -> int:
    """What the shared counter says."""
    with transactions.reading() as connection:
        return int(
            connection.execute(select(counter.c.number).where(counter.c.name == "shared")).scalar_one()
        )


def entries_in(transactions: Transactions) -> int:
    """How many entries there are."""
    with transactions.reading() as connection:
        return int(connection.execute(select(func.count()).select_from(entry)).scalar_one())


def run_increments(transactions: Transactions, threads: int, times: int) -> None:
    """Increment from several threads of this process at once."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(times):
                transactions.write(increment)
        except BaseException as error:  # noqa: BLE001 (handed to the main thread)
            failures.append(error)

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if failures:
        raise failures[0]


def tell(word: str) -> None:
    """Tell the test where we are."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def wait_for_word() -> str:
    """Wait for the test to say something."""
    return sys.stdin.readline().strip()


def task_increment(db_path: str, threads: str, times: str) -> None:
    with closing(open_plainly(db_path)) as transactions:
        tell("ready")
        wait_for_word()
        run_increments(transactions, int(threads), int(times))


def task_hold(db_path: str) -> None:
    """Change the counter and neither commit nor end."""

    def operation(connection: Connection) -> None:
        connection.execute(update(counter).values(number=-1))
        tell("holding")
        wait_for_word()

    with closing(open_plainly(db_path)) as transactions:
        transactions.write(operation)


def task_ensure(db_path: str) -> None:
    with closing(open_plainly(db_path)) as transactions:
        tell("ready")
        wait_for_word()
        tell(str(ensure_schema(transactions, create=True, schema=SCHEMA).before))


def task_upgrade_slowly(db_path: str) -> None:
    with closing(open_plainly(db_path)) as transactions:
        tell(str(ensure_schema(transactions, schema=SLOW_SCHEMA).before))


def task_stay(db_path: str) -> None:
    """Connect, and leave SIGTERM with its default meaning."""
    with closing(open_plainly(db_path)) as transactions:
        number_of(transactions)
        tell("connected")
        wait_for_word()


def task_finish_request(db_path: str) -> None:
    """A handler set before the first connection; what is being read at the signal is read to its end."""
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    with closing(open_plainly(db_path)) as transactions, transactions.reading() as connection:
        connection.execute(select(counter.c.number)).scalar_one()
        tell("connected")
        while not stopped.wait(0.05):
            pass
        tell(str(connection.execute(select(counter.c.number)).scalar_one()))


def task_fork(db_path: str) -> None:
    """Use the database before a fork, in the child, and afterwards in the parent."""
    with closing(open_plainly(db_path)) as transactions:
        transactions.write(increment)
        with transactions.reading() as held:
            child = os.fork()
            if child == 0:
                try:
                    transactions.write(increment)
                except UnavailableError:
                    os._exit(FORKED_CHILD_REFUSED)
                sys.exit(0)  # with everything that an interpreter does at its end
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            held.execute(select(counter.c.number)).scalar_one()
        transactions.write(increment)
        tell(f"{status} {number_of(transactions)}")


@contextmanager
def worker(task: str, db_path: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a task in a process of its own; killed at the end if it has not ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.db.workers", task, db_path, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def next_line(process: subprocess.Popen[str]) -> str:
    """The next thing that the worker says; empty when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def say(process: subprocess.Popen[str], word: str = "go") -> None:
    """Let the worker go on."""
    assert process.stdin is not None
    process.stdin.write(word + "\n")
    process.stdin.flush()


if __name__ == "__main__":
    chosen: Callable[..., None] = globals()[f"task_{sys.argv[1]}"]
    chosen(*sys.argv[2:])
