"""``meteorpi init``: a person at a terminal, and a script that nobody watches."""

from __future__ import annotations

import os
import pwd
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from meteorpi_db import MeteorDatabase
from meteorpi_server.cli import interview
from meteorpi_server.settings import Settings
from tests.cli.accounts import unprivileged
from tests.cli.conftest import Meteorpi
from tests.cli.terminal import Terminal, at_terminal

HUB = "https://hub.example/api/import"


@pytest.fixture
def bare(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose environment sets nothing."""
    for name in ("METEORPI_DB_PATH", "METEORPI_FILE_STORE", "METEORPI_INSTALLATION_ID"):
        monkeypatch.delenv(name)
    return home


@pytest.fixture
def config(bare: Path) -> Path:
    return bare / "etc" / "meteorpi.toml"


@pytest.fixture
def secret(bare: Path) -> Path:
    path = bare / "secret"
    path.write_text("sesame\n")
    return path


def accounts_of(settings: Settings) -> set[str]:
    with settings.open_database() as database:
        return {user.user_id for user in database.get_users() if user.has_role("camera_admin")}


def targets_of(settings: Settings) -> list[tuple[str, str]]:
    with settings.open_database() as database:
        return [(each.target_url, each.user_id) for each in database.get_export_configurations()]


@pytest.mark.contract("issue-3.6/init")
def test_unattended_init_writes_what_the_options_say(meteorpi: Meteorpi, config: Path, secret: Path) -> None:
    arguments = ["--config", config, "init", "--camera", "abcdefabcdef", "--url-path", "/api"]
    arguments += ["--admin", "ada", "--password-file", secret]
    arguments += ["--export-to", HUB, "--export-user", "hill", "--export-password-file", secret]

    done = meteorpi(*arguments, "--json")

    assert done.code == 0, done.err
    settings = Settings.load({}, config)
    assert settings.url_path == "/api"
    assert settings.installation_id == done.json["installation_id"] == "abcdefabcdef"
    assert settings.db_path == f"sqlite:///{config.parent}/meteorpi.db"
    assert settings.file_store == f"{config.parent}/files"
    assert settings.export
    assert accounts_of(settings) == {"ada"}
    assert targets_of(settings) == [(HUB, "hill"), (HUB, "hill")]
    assert stat.S_IMODE(config.stat().st_mode) == 0o640
    assert "sesame" not in config.read_text()


@pytest.mark.contract("issue-3.6/init")
def test_second_run_changes_nothing(meteorpi: Meteorpi, config: Path, secret: Path) -> None:
    arguments = [
        "--config",
        config,
        "init",
        "--url-path",
        "/api",
        "--admin",
        "ada",
        "--password-file",
        secret,
    ]
    arguments += ["--export-to", HUB, "--export-user", "hill", "--export-password-file", secret]
    first = meteorpi(*arguments, "--json")
    before = (config.read_text(), config.stat().st_mtime_ns, sorted(config.parent.iterdir()))

    second = meteorpi(*arguments, "--json")

    assert second.code == 0, second.err
    assert second.json == first.json
    assert (config.read_text(), config.stat().st_mtime_ns, sorted(config.parent.iterdir())) == before
    settings = Settings.load({}, config)
    assert len(targets_of(settings)) == 2
    with settings.open_database() as database:
        actions = [entry.action for entry in database.get_audit_log(10)]
    assert sorted(actions) == ["export.create", "export.create", "user.create"]


@pytest.mark.contract("issue-3.6/init")
def test_configuration_is_replaced_only_when_told_and_the_old_one_kept(
    meteorpi: Meteorpi, config: Path
) -> None:
    config.parent.mkdir()
    config.write_text('# mine\nurl_path = "/old"\nthreads = 3\n')

    refused = meteorpi("--config", config, "init", "--url-path", "/api")

    assert refused.code == 2
    assert "--replace" in refused.err
    assert "url_path" in refused.err
    assert config.read_text().startswith("# mine")
    assert not (config.parent / "meteorpi.db").exists()

    assert meteorpi("--config", config, "init", "--url-path", "/api", "--replace").code == 0

    settings = Settings.load({}, config)
    assert (settings.url_path, settings.threads) == ("/api", 3)
    (kept,) = config.parent.glob("meteorpi.toml.*")
    assert kept.read_text().startswith("# mine")


@pytest.mark.contract("issue-3.6/init")
def test_password_of_the_old_file_moves_into_a_file_of_its_own(meteorpi: Meteorpi, config: Path) -> None:
    config.parent.mkdir()
    config.write_text('db_password = "hush"\n')

    assert meteorpi("--config", config, "init", "--url-path", "/api", "--replace").code == 0

    assert "hush" not in config.read_text()
    assert Settings.load({}, config).db_password == "hush"
    assert stat.S_IMODE((config.parent / "db_password").stat().st_mode) == 0o600


@pytest.mark.contract("issue-3.6/init")
@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--admin", "ada"], "--password-file"),
        (["--export-to", HUB], "--export-user"),
        (["--export-to", HUB, "--export-user", "hill"], "--export-password-file"),
        (["--export-to", "hub", "--export-user", "hill"], "--export-to"),
        (["--camera", "short"], "--camera"),
        (["--account", "nobody-of-that-name"], "--account"),
    ],
)
@pytest.mark.parametrize("yes", [[], ["--yes"]], ids=["no-terminal", "yes"])
def test_what_is_missing_names_its_option(
    meteorpi: Meteorpi, config: Path, options: list[str], named: str, yes: list[str]
) -> None:
    done = meteorpi("--config", config, "init", *options, *yes)

    assert done.code == 2
    assert named in done.err


@pytest.mark.contract("issue-3.6/init")
def test_file_that_was_written_by_hand_is_left_alone(meteorpi: Meteorpi, bare: Path, config: Path) -> None:
    """What it does not say is a default, or up to the environment."""
    config.parent.mkdir()
    config.write_text("threads = 3\n")

    unattended = meteorpi("--config", config, "init")
    arguments = ["--config", str(config), "init", "--role", "station"]
    if os.geteuid() == 0:
        arguments += ["--account", "root"]
    with at_terminal(arguments, bare, os.environ) as terminal:
        for question in (
            "Database engine",
            "File of",
            "Directory",
            "Camera id",
            "Path below",
            "Administrator",
        ):
            terminal.answer(question, "")
        terminal.answer("Import route", "")
        code = terminal.finish()

    assert (unattended.code, code) == (0, 0), unattended.err + terminal.seen
    assert config.read_text() == "threads = 3\n"
    assert (bare / "meteorpi.db").exists()


def test_settings_without_a_file_to_keep_them_are_refused(meteorpi: Meteorpi, bare: Path) -> None:
    done = meteorpi("init", "--url-path", "/api")

    assert done.code == 2
    assert "--config" in done.err


@pytest.mark.contract("issue-3.6/init")
def test_file_that_cannot_be_written_is_named(meteorpi: Meteorpi, bare: Path) -> None:
    (bare / "file").write_text("in the way")

    done = meteorpi("--config", bare / "file" / "meteorpi.toml", "init")

    assert done.code == 2
    assert "file/meteorpi.toml" in done.err


def test_environment_that_overrides_the_new_file_is_pointed_out(
    meteorpi: Meteorpi, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METEORPI_URL_PATH", "/other")

    assert "METEORPI_URL_PATH" in meteorpi("--config", config, "init", "--url-path", "/api").err


def talk(terminal: Terminal, config: Path, *, database: str) -> None:
    """Set up a station as a person does who keeps most of what is offered."""
    terminal.answer("Configuration file", str(config))
    if os.geteuid() == 0 and interview._exists("meteorpi"):
        terminal.answer("Account of the services", "root")
    terminal.answer("a station or a hub?", "")
    terminal.answer("Database engine", "oracle")
    terminal.answer("Database engine", "")
    terminal.answer("File of the database", database)
    terminal.answer("Directory of the file store", "")
    terminal.answer("Camera id", "too short")
    terminal.answer("Camera id", "abcdefabcdef")
    terminal.answer("Path below which it is served", "")
    terminal.answer("Administrator", "ada")
    terminal.answer("Import route", "hub.example")
    terminal.answer("Import route", HUB)
    terminal.answer("Account there", "hill")
    terminal.answer("Password of hill there", "open")


@pytest.mark.contract("issue-3.6/init")
def test_person_at_a_terminal_is_asked_for_everything(bare: Path, config: Path) -> None:
    with at_terminal(["init"], bare, os.environ) as terminal:
        talk(terminal, config, database="night.db")
        terminal.answer("Password of ada", "sesame")
        terminal.answer("Repeat", "sesame")
        code = terminal.finish()

    assert code == 0, terminal.seen
    assert "sesame" not in terminal.seen
    assert f"export METEORPI_CONFIG={config}" in terminal.seen
    settings = Settings.load({}, config)
    assert settings.db_path == f"sqlite:///{bare}/night.db"
    assert settings.file_store == f"{config.parent}/files"
    assert (settings.url_path, settings.installation_id) == ("/api", "abcdefabcdef")
    assert accounts_of(settings) == {"ada"}
    assert targets_of(settings) == [(HUB, "hill"), (HUB, "hill")]


@pytest.mark.contract("issue-3.6/init")
def test_person_may_keep_what_is_there_by_pressing_enter(
    bare: Path, config: Path, meteorpi: Meteorpi
) -> None:
    assert meteorpi("--config", config, "init", "--camera", "abcdefabcdef", "--url-path", "/node").code == 0
    before = config.read_text()

    arguments = ["--config", str(config), "init", "--role", "station"]
    if os.geteuid() == 0:
        arguments += ["--account", "root"]
    with at_terminal(arguments, bare, os.environ) as terminal:
        for question in (
            "Database engine",
            "File of",
            "Directory",
            "Camera id",
            "Path below",
            "Administrator",
        ):
            terminal.answer(question, "")
        terminal.answer("Import route", "")
        code = terminal.finish()

    assert code == 0, terminal.seen
    assert config.read_text() == before
    assert [path.name for path in config.parent.glob("meteorpi.toml*")] == ["meteorpi.toml"]


@pytest.mark.contract("issue-3.6/init")
def test_person_decides_whether_a_file_is_replaced(bare: Path, config: Path, meteorpi: Meteorpi) -> None:
    assert meteorpi("--config", config, "init", "--url-path", "/node").code == 0
    before = config.read_text()
    arguments = ["--config", str(config), "init", "--role", "hub", "--db-path", str(bare / "other.db")]
    arguments += ["--file-store", str(bare / "files"), "--admin", "", "--url-path", "/node"]
    if os.geteuid() == 0:
        arguments += ["--account", "root"]

    with at_terminal(arguments, bare, os.environ) as terminal:
        terminal.answer("says otherwise about db_path, file_store", "n")
        code = terminal.finish()

    assert code == 2
    assert config.read_text() == before

    with at_terminal(arguments, bare, os.environ) as terminal:
        terminal.answer("says otherwise about db_path, file_store", "y")
        code = terminal.finish()

    assert code == 0, terminal.seen
    assert Settings.load({}, config).db_path == f"sqlite:///{bare}/other.db"


@pytest.mark.contract("issue-3.6/init")
@pytest.mark.engines("postgresql")
def test_password_of_a_server_is_kept_in_a_file_of_its_own(
    bare: Path, config: Path, bare_database: str
) -> None:
    arguments = ["--config", str(config), "init", "--role", "hub", "--admin", ""]
    if os.geteuid() == 0:
        arguments += ["--account", "root"]

    with at_terminal(arguments, bare, os.environ) as terminal:
        terminal.answer("Database engine", "")
        terminal.answer("Address of the database", bare_database)
        terminal.answer("Account on the server", "meteorpi")
        terminal.answer("Password on the server", "meteorpi")
        terminal.answer("Directory", "")
        terminal.answer("Path below", "")
        code = terminal.finish()

    assert code == 0, terminal.seen
    secret = config.parent / "db_password"
    assert secret.read_text() == "meteorpi\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert f'db_password_file = "{secret}"' in config.read_text()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every account of the machine can enter."""
    with tempfile.TemporaryDirectory(prefix="meteorpi-init-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.contract("issue-3.6/init")
def test_root_gives_the_node_to_the_account_of_the_services(open_folder: Path) -> None:
    account = unprivileged() or pwd.getpwuid(os.geteuid()).pw_name
    config = open_folder / "etc" / "meteorpi.toml"
    data = open_folder / "data"
    arguments = ["--config", config, "init", "--account", account, "--db-path", data / "node.db"]

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "meteorpi_server.cli",
            *map(str, arguments),
            "--file-store",
            str(data / "files"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd=open_folder,
    )

    owner = pwd.getpwnam(account)
    assert done.returncode == 0, done.stderr
    assert (config.stat().st_uid, config.stat().st_gid) == (os.geteuid(), owner.pw_gid)
    owners = {path.stat().st_uid for path in (data, data / "node.db", data / "files")}
    assert owners == {owner.pw_uid}
    with MeteorDatabase(data / "node.db", data / "files") as database:
        assert database.get_schema_version() > 0
