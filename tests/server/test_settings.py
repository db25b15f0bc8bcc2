"""Settings: read once, checked, and documented from the same declarations."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meteorpi_model.errors import ConfigurationError
from meteorpi_server import settings as settings_module
from meteorpi_server.declarations import Declaration, declarations
from meteorpi_server.settings import Settings, load_settings
from meteorpi_server.settings_file import as_toml

NO_FILE = {"METEORPI_CONFIG": ""}
DECLARED = declarations(Settings)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "meteorpi.toml"


def test_a_fresh_clone_needs_no_settings() -> None:
    assert Settings.from_environ({"PATH": "/bin", **NO_FILE}) == Settings()


def test_each_kind_of_value_is_read() -> None:
    settings = Settings.from_environ(
        {
            **NO_FILE,
            "METEORPI_DB_PATH": " postgresql://hub/meteorpi ",
            "METEORPI_PORT": "8080",
            "METEORPI_EXPORT": "Yes",
            "METEORPI_ARCHIVE_DELAY": "0.5",
            "METEORPI_CORS_ORIGINS": "https://a.example, https://b.example,",
            "METEORPI_LOG_LEVEL": "debug",
        }
    )

    assert settings.db_path == "postgresql://hub/meteorpi"
    assert settings.port == 8080
    assert settings.export is True
    assert settings.archive_delay == 0.5
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"METEORPI_PROT": "1"}, r"METEORPI_PROT\. Did you mean METEORPI_PORT"),
        ({"METEORPI_PORT": "many"}, "METEORPI_PORT"),
        ({"METEORPI_PORT": "-1"}, "METEORPI_PORT"),
        ({"METEORPI_PORT": ""}, "METEORPI_PORT"),
        ({"METEORPI_PORT": "65536"}, "METEORPI_PORT: must be at most 65535"),
        ({"METEORPI_THREADS": "0"}, "METEORPI_THREADS: must be at least 1"),
        ({"METEORPI_LOG_FORMAT": "xml"}, "METEORPI_LOG_FORMAT: must be one of text, json"),
        ({"METEORPI_EXPORT": "perhaps"}, "METEORPI_EXPORT"),
        ({"METEORPI_ARCHIVE_DELAY": "-0.5"}, "METEORPI_ARCHIVE_DELAY"),
        ({"METEORPI_ARCHIVE_DELAY": "nan"}, "METEORPI_ARCHIVE_DELAY"),
        ({"METEORPI_PORT_FILE": "/etc/port"}, "METEORPI_PORT_FILE"),
        ({"METEORPI_DB_PASSWORD_FILE": "/does/not/exist"}, "METEORPI_DB_PASSWORD_FILE"),
        ({"METEORPI_DB_PASSWORD": "a", "METEORPI_DB_PASSWORD_FILE": "b"}, "METEORPI_DB_PASSWORD"),
        ({"METEORPI_CONFIG": "/does/not/exist.toml"}, r"/does/not/exist\.toml"),
    ],
)
def test_what_cannot_be_read_stops_the_start_and_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Settings.from_environ({**NO_FILE, **environ})


@pytest.mark.contract("B-53")
def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n")

    settings = Settings.from_environ({**NO_FILE, "METEORPI_DB_PASSWORD_FILE": str(secret)})

    assert settings.db_password == "sesame"
    assert all("sesame" not in "".join(row) for row in settings.rows())


@pytest.mark.contract("B-53")
def test_no_password_is_built_in() -> None:
    assert Settings().db_password == ""


def test_every_setting_is_documented() -> None:
    rows = Settings(port=1).rows()

    assert all(row.help and row.variable == f"METEORPI_{row.name.upper()}" for row in rows)
    assert next(row for row in rows if row.name == "port")[2:5] == ("int", "12345", "1")
    assert next(row for row in rows if row.name == "routes").default == "admin,importer,query,node"


@pytest.mark.contract("issue-3.6/file")
def test_file_is_overridden_by_the_environment_and_both_by_options(config: Path) -> None:
    config.write_text('port = 1\nthreads = 2\nexport = true\nroutes = ["query"]\nlog_level = "error"\n')
    environ = {"METEORPI_CONFIG": str(config), "METEORPI_THREADS": "3", "METEORPI_LOG_LEVEL": "INFO"}

    loaded = load_settings(environ, options={"log_level": "debug"})

    assert loaded.settings == Settings(port=1, threads=3, export=True, routes=("query",), log_level="DEBUG")
    origins = {row.name: row.origin for row in loaded.settings.rows(loaded.origins)}
    assert (origins["port"], origins["threads"], origins["log_level"]) == ("file", "environment", "option")
    assert origins["host"] == "default"
    assert Settings.load(environ) == dataclasses.replace(loaded.settings, log_level="INFO")


@pytest.mark.contract("issue-3.6/file")
def test_file_of_the_machine_counts_where_no_other_is_named(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_module, "DEFAULT_CONFIG", config)

    assert Settings.load({}) == Settings()
    config.write_text("port = 1\n")
    assert Settings.load({}).port == 1
    assert Settings.load(NO_FILE) == Settings()


@pytest.mark.contract("issue-3.6/file")
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("port = \n", "line 1"),
        ("port = 80 81\n", "line 1"),
        ("host = localhost\n", "texts stand in quotes"),
        ("threads = 1\n\nprot = 1\n", "line 3: prot is no setting. Did you mean port"),
        ("[server]\nport = 1\n", "line 1: server: there are no tables"),
        ("[[port]]\nx = 1\n", "port must be a whole number"),
        ('port = "80"\n', "line 1: port must be a whole number without quotes, not a text"),
        ("port = true\n", "port must be a whole number"),
        ("port = 1.5\n", "port must be a whole number"),
        ("port = -1\n", "port must be at most 65535, not -1"),
        ("threads = 0\n", "threads must be at least 1"),
        ("stop_seconds = -1\n", "stop_seconds must be at least 0"),
        ("export = 1\n", "export must be true or false"),
        ("host = 1\n", "host must be a text in quotes"),
        ('routes = "query"\n', "routes must be a list of texts"),
        ("routes = [1]\n", "routes must be a list of texts"),
        ('log_level = "loud"\n', "log_level must be one of DEBUG"),
        ("db_password_file = 1\n", "db_password_file must be the path of a file"),
        ('db_password_file = "/does/not/exist"\n', "cannot read /does/not/exist"),
        ('db_password = "a"\ndb_password_file = "/dev/null"\n', "db_password is set twice"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_file_line_and_key(
    config: Path, text: str, complaint: str
) -> None:
    config.write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}, config)

    assert str(config) in caught.value.detail
    assert complaint in caught.value.detail


@pytest.mark.contract("issue-3.6/file")
def test_complaints_never_repeat_a_secret(config: Path) -> None:
    config.write_text("db_password = 123456\n")

    with pytest.raises(ConfigurationError) as caught:
        Settings.load({}, config)

    assert "123456" not in caught.value.detail


def test_file_that_is_no_text_is_named(config: Path) -> None:
    config.write_bytes(b"host = '\xff'\n")

    with pytest.raises(ConfigurationError, match="is not UTF-8"):
        Settings.load({}, config)


@pytest.mark.contract("issue-3.6/file")
def test_file_that_the_account_may_not_read_is_named() -> None:
    program = (
        "import os, pwd, sys\n"
        "from meteorpi_server.settings import Settings\n"
        "if os.geteuid() == 0: os.setuid(pwd.getpwnam('nobody').pw_uid)\n"
        "Settings.load({}, sys.argv[1])\n"
    )
    with tempfile.NamedTemporaryFile(suffix=".toml") as config:  # where any account can go
        Path(config.name).chmod(0)
        done = subprocess.run(
            [sys.executable, "-c", program, config.name], capture_output=True, text=True, check=False
        )

    assert f"ConfigurationError: this account may not read {config.name}" in done.stderr


def test_directory_in_place_of_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read the configuration"):
        Settings.load({}, tmp_path)


@pytest.mark.contract("issue-3.6/file")
def test_secrets_of_a_file_come_from_files_and_can_be_overridden(config: Path, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n")
    config.write_text(f'db_password_file = "{secret}"\n')

    loaded = load_settings({}, config)

    assert loaded.settings.db_password == "sesame"
    assert "sesame" not in loaded.as_toml()
    assert f'\ndb_password_file = "{secret}"\n' in loaded.as_toml()
    overridden = load_settings({"METEORPI_DB_PASSWORD": "swordfish"}, config)
    assert overridden.settings.db_password == "swordfish"
    assert "swordfish" not in overridden.as_toml()
    assert str(secret) not in overridden.as_toml()


def values_of(declaration: Declaration) -> st.SearchStrategy[object]:
    """Values that the setting allows."""
    texts = st.text(st.characters(exclude_categories=["Cs"]))
    if declaration.choices:
        return st.sampled_from(declaration.choices)
    if declaration.kind == "int":
        return st.integers(declaration.minimum, declaration.maximum or 2**62)
    if declaration.kind == "float":
        return st.floats(0, 1e9)
    return {"str": texts, "bool": st.booleans(), "list": st.lists(texts).map(tuple)}[declaration.kind]


@pytest.mark.contract("issue-3.6/file")
@given(
    st.fixed_dictionaries(
        {}, optional={name: values_of(each) for name, each in DECLARED.items() if not each.is_secret}
    )
)
def test_printed_file_gives_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    path = tmp_path_factory.getbasetemp() / "printed.toml"
    settings = Settings(**values)  # type: ignore[arg-type]  # each is of the type of its setting

    path.write_text(as_toml(DECLARED, vars(settings)), encoding="utf-8", newline="")

    assert Settings.load({}, path) == settings


@pytest.mark.contract("issue-3.6/file")
def test_printed_file_names_and_explains_every_setting() -> None:
    lines = load_settings(NO_FILE).as_toml().splitlines()

    for name, each in DECLARED.items():
        key = each.file_key if each.is_secret else name
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"# {key} = ")]
        assert lines[place - 1].removeprefix("# ") in each.explanation
