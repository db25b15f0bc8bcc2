"""``meteorpi backup``, ``meteorpi restore`` and ``meteorpi copy-db``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click

from meteorpi_db import MeteorDatabase
from meteorpi_db.backup import Repository, RestoreOptions, RestoreReport, check_snapshot, summary
from meteorpi_db.backup.restoring import Progress
from meteorpi_db.facade.upkeep import BACKUP_MADE
from meteorpi_server.cli.output import Advance, Output, json_option, progress
from meteorpi_server.cli.passwords import first_line
from meteorpi_server.cli.setup import Setup, pass_setup
from meteorpi_server.cli.users import ACTOR

_LIST_COLUMNS = ("name", "files", "events", "content_bytes", "lacking", "engine", "trouble")
_STEPS = {"check": "checking", "contents": "contents", "rows": "records", "verify": "verifying"}
_IN_BYTES = frozenset({"check"})

repository_argument = click.argument("repository", type=click.Path(path_type=Path))


@click.command()
@repository_argument
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    metavar="N",
    help="Afterwards remove all but the N newest backups, and contents that only the others had.",
)
@click.option("--without-key", is_flag=True, help="Leave out the key that protects stored passwords.")
@json_option
@pass_setup
def backup(setup: Setup, output: Output, repository: Path, keep: int | None, without_key: bool) -> int:
    """Back the node up to the directory REPOSITORY while it is at work.

    Records are those of one moment; contents that the directory has from an earlier backup are not copied
    again. A backup appears when it is complete. Ends with 1 when contents are missing or damaged at the
    source: then the backup is kept, and lacks them too.
    """
    with setup.open_database(create=False) as database:
        with progress("backing up", in_bytes=True) as advance:
            report = database.backup_to(repository, with_key=not without_key, keep=keep, progress=advance)
        output.facts(report.as_dict())
        detail = f"{repository} lacking={len(report.lacking)}"
        action = BACKUP_MADE if report.is_complete else "backup.lacking"
        database.record_audit(ACTOR, action, report.name, detail=detail)
    return 0 if report.is_complete else 1


@click.command()
@repository_argument
@click.option(
    "--snapshot", metavar="NAME", help="This backup, or the one whose name begins so; else the newest."
)
@click.option("--list", "is_list", is_flag=True, help="List the backups, and do nothing else.")
@click.option("--check", "is_check", is_flag=True, help="Read everything in the backup, and do nothing else.")
@click.option(
    "--keep-exports", is_flag=True, help="Leave exports enabled; otherwise a restored node has them off."
)
@click.option(
    "--partial", is_flag=True, help="Restore the rest when contents are missing or damaged in the backup."
)
@json_option
@pass_setup
def restore(
    setup: Setup,
    output: Output,
    repository: Path,
    snapshot: str | None,
    is_list: bool,
    is_check: bool,
    keep_exports: bool,
    partial: bool,
) -> int:
    """Restore a backup out of the directory REPOSITORY into the database and file store of the settings.

    Both must be empty or missing: nothing is ever overwritten. The engine may be another than that of the
    backup. Everything is verified before and after; ends with 1 when something is not right. A restore that
    was interrupted is repeated in the same way.
    """
    if is_list:
        return _list(output, Repository(repository))
    if is_check:
        return _check(output, Repository(repository), snapshot)
    settings = setup.settings
    with _steps() as show:
        report = MeteorDatabase.restore_from(
            repository,
            snapshot,
            db_path=settings.db_path,
            file_store_path=settings.file_store,
            db_user=settings.db_user,
            db_password=settings.db_password,
            secret_key_file=settings.secret_key_file or None,
            options=RestoreOptions(keep_exports=keep_exports, partial=partial),
            progress=show,
        )
    output.facts(report.as_dict())
    with setup.open_database(create=False) as database:
        database.record_audit(ACTOR, "backup.restore", report.name, detail=str(repository))
        _advise(output, database, report)
    return 0 if report.is_complete else 1


@click.command("copy-db")
@click.argument("target_db")
@click.option(
    "--target-user", metavar="NAME", help="Account at the other database; that of the settings if not given."
)
@click.option(
    "--target-password-file",
    "target_password",
    type=click.File("r", encoding="utf-8"),
    callback=lambda context, parameter, stream: None if stream is None else first_line(stream.read()),
    help="Take its password from the first line of FILE; - is standard input.",
)
@click.option(
    "--online", is_flag=True, help="Although an exporter is at work; what comes from now on stays behind."
)
@json_option
@pass_setup
def copy_db(
    setup: Setup,
    output: Output,
    target_db: str,
    target_user: str | None,
    target_password: str | None,
    online: bool,
) -> None:
    """Copy all records to the database TARGET_DB, of any engine; the file store stays where it is.

    The other database must be empty or missing. Stop the node first, then name the other database in the
    settings; what is recorded in between stays behind.
    """
    settings = setup.settings
    with setup.open_database(create=False) as database, progress("copying records") as advance:
        report = database.copy_database_to(
            target_db,
            settings.db_user if target_user is None else target_user,
            settings.db_password if target_password is None else target_password,
            online=online,
            progress=advance,
        )
    output.facts({"rows": report.rows, **report.tables})
    output.say("Now name it in METEORPI_DB_PATH, and start the node again.")


def _list(output: Output, repository: Repository) -> int:
    with repository.locked(shared=True):
        rows = [summary(repository.snapshot(name)) for name in repository.names()]
    output.rows(rows, _LIST_COLUMNS)
    return 1 if any(row["trouble"] for row in rows) else 0


def _check(output: Output, repository: Repository, wanted: str | None) -> int:
    with repository.locked(shared=True), progress("checking", in_bytes=True) as advance:
        report = check_snapshot(repository, repository.find(wanted), advance)
    output.facts(report.as_dict())
    return 0 if report.is_sound else 1


def _advise(output: Output, database: MeteorDatabase, report: RestoreReport) -> None:
    if report.exports_disabled:
        output.warn("exports are off: meteorpi exports set CONFIG_ID --enable, once the other node is gone")
    if report.installation_id != database.installation_id:
        output.warn(f"this node was {report.installation_id}: set METEORPI_INSTALLATION_ID if it still is")


@contextmanager
def _steps() -> Iterator[Progress]:
    """A progress bar for each step of a restore, one after the other."""
    with ExitStack() as bars:
        shown: dict[str, Advance] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in shown:
                bars.close()
                shown[what] = bars.enter_context(progress(_STEPS[what], in_bytes=what in _IN_BYTES))
            shown[what](done, total)

        yield show
