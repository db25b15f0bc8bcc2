"""The options of the Qabel block server, wherever they are said, and what they mean here."""

from __future__ import annotations

import logging
import logging.handlers
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.block_serving import reading
from meteorpi_server.block_serving.logs import read_log_choice
from meteorpi_server.block_serving.names import OPTIONS, VARIABLES
from meteorpi_server.cli.block_serve import serve
from meteorpi_server.cli.block_setup import BlockSetup
from meteorpi_server.cli.concealing import with_secrets_in_pipes
from meteorpi_server.cli.setup import Setup
from meteorpi_server.settings import Loaded, Settings
from meteorpi_server.standalone_settings import NO_CONTENTS

NO_FILE = {"METEORPI_CONFIG": ""}
REDIS = "redis://localhost:6379/0"

# The reference of options of the predecessor, and of the variables of its container.
PREDECESSORS = {
    *("accounting-host", "address", "apisecret", "asyncio", "debug", "dummy", "dummy-auth", "dummy-cache"),
    *("dummy-log", "local-storage", "logging-config", "max-body-size", "port", "prometheus-port", "psql-dsn"),
    *("redis-host", "redis-port", "s3-bucket", "transfers", "logging", "log-to-stderr", "log-file-prefix"),
    *("log-file-max-size", "log-file-num-backups", "log-rotate-mode", "log-rotate-when"),
    "log-rotate-interval",
}
CONTAINERS = {
    *("BLOCK_LOGGING_CONFIG", "BLOCK_LOCAL_STORAGE", "BLOCK_DEBUG", "BLOCK_ACCOUNTING_HOST", "BLOCK_PORT"),
    *("BLOCK_API_SECRET", "BLOCK_MAX_BODY_SIZE", "BLOCK_PROMETHOUS_PORT", "BLOCK_DUMMY", "BLOCK_TRANSFERS"),
    *("DATABASE_URL", "REDIS_HOST", "REDIS_PORT"),
}

SetUp = Callable[..., BlockSetup]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The directories of files that are read without being named; the last is the current one."""
    found = {name: tmp_path / name for name in ("system", "home", "project")}
    for path in found.values():
        path.mkdir()
    monkeypatch.setattr(reading, "SYSTEM_DIRECTORY", found["system"])
    monkeypatch.chdir(found["project"])
    return found


@pytest.fixture
def set_up(places: dict[str, Path]) -> SetUp:
    """Call it with the arguments of the command and the environment for what a server starts from."""

    def make(*arguments: str, environ: Mapping[str, str] | None = None) -> BlockSetup:
        given = serve.make_context("serve", list(arguments)).params
        file = given.pop("file")
        given.pop("output")
        node = Setup({}, NO_FILE | {"HOME": str(places["home"])} | dict(environ or {}))
        return BlockSetup(node, file, given, is_server=True)

    return make


def changed(loaded: Loaded) -> dict[str, Any]:
    """The settings that are not those of a node without any options."""
    now, before = vars(loaded.settings), vars(Settings())
    return {name: now[name] for name in now if now[name] != before[name]}


@pytest.mark.contract("K-500", "A.13/names", "A.13/environment", "issue-5.4")
def test_every_option_and_variable_of_the_predecessor_is_known() -> None:
    assert set(OPTIONS) == PREDECESSORS
    assert set(VARIABLES) == {*CONTAINERS, "BLOCK_PROMETHEUS_PORT"}


@pytest.mark.contract(
    "A.13/names",
    "K-500",
    "K-502",
    "KD-20",
    "A.13/accounting-host",
    "A.13/address",
    "A.13/port",
    "A.13/apisecret",
    "A.13/asyncio",
    "A.13/debug",
    "A.13/dummy",
    "A.13/dummy-auth",
    "A.13/dummy-cache",
    "A.13/dummy-log",
    "A.13/local-storage",
    "A.13/logging-config",
    "A.13/max-body-size",
    "A.13/prometheus-port",
    "A.13/psql-dsn",
    "A.13/redis-host",
    "A.13/redis-port",
    "A.13/s3-bucket",
    "A.13/transfers",
    "A.13/logging",
)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--port=0", "--address", "::"], {"port": 0, "host": "::"}),
        (["--max_body_size=5", "--transfers", "4"], {"block_max_body_bytes": 5, "block_transfers": 4}),
        (["--debug"], {"block_insecure": True, "log_level": "DEBUG"}),
        (["--debug=false", "--asyncio", "--dummy-log=true"], {}),
        (
            ["--accounting-host", "https://a.example"],
            {"block_accounts": "remote", "block_accounting_url": "https://a.example"},
        ),
        (
            ["--apisecret=geheim"],
            {
                "block_accounts": "remote",
                "block_accounting_secret": "geheim",
                "block_accounting_url": "http://localhost:8000",
            },
        ),
        (
            ["--dummy-auth", "WORD", "--accounting-host=https://a.example"],
            {
                "block_accounts": "dummy",
                "block_dummy_token": "WORD",
                "block_accounting_url": "https://a.example",
            },
        ),
        (["--redis-port=6379"], {"block_cache": REDIS, "block_events": REDIS}),
        (["--redis-host=localhost", "--dummy-cache"], {}),
        (
            ["--redis_host", "::1"],
            {"block_cache": "redis://[::1]:6379/0"} | {"block_events": REDIS[:8] + "[::1]:6379/0"},
        ),
        (["--local-storage", "/x", "--s3-bucket=b"], {"block_store": "/x"}),
        (["--s3-bucket=b"], {"block_store": "s3://b"}),
        (["--s3-bucket", "s3://b/c?endpoint=http://h:1"], {"block_store": "s3://b/c?endpoint=http://h:1"}),
        (
            ["--debug", "--dummy", "--local-storage=/x"],
            {
                "block_store": "memory:",
                "file_store": NO_CONTENTS,
                "block_insecure": True,
                "log_level": "DEBUG",
            },
        ),
        (
            ["--psql-dsn", "postgres://u:p@h/d"],
            {"db_path": "postgresql://u:p@h/d", "block_store": "s3://qabel", "file_store": NO_CONTENTS},
        ),
        (
            ["--psql-dsn=host=h dbname=d", "--local-storage=/x"],
            {"db_path": "postgresql://h/d", "block_store": "/x", "file_store": NO_CONTENTS},
        ),
        (["--logging=warning", "--debug"], {"log_level": "WARNING", "block_insecure": True}),
        (["--prometheus-port", "9000"], {"block_metrics_port": 9000}),
        (["--logging-config=/x.json"], {"logging_config": "/x.json"}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_mean_settings(set_up: SetUp, arguments: list[str], expected: dict[str, Any]) -> None:
    assert changed(set_up(*arguments).loaded) == {"port": 8888} | expected


@pytest.mark.contract("A.13/environment", "K-500", "KD-21")
def test_variables_of_the_container_mean_the_same(set_up: SetUp) -> None:
    environ = {
        "BLOCK_PORT": "80",
        "BLOCK_DEBUG": "false",
        "BLOCK_DUMMY": "",
        "BLOCK_ACCOUNTING_HOST": "http://accounting",
        "BLOCK_API_SECRET": "geheim",
        "BLOCK_LOCAL_STORAGE": "/data",
        "BLOCK_MAX_BODY_SIZE": "7",
        "BLOCK_PROMETHOUS_PORT": "9000",
        "BLOCK_TRANSFERS": "3",
        "BLOCK_LOGGING_CONFIG": "/logging.json",
        "DATABASE_URL": "postgresql+psycopg2://h/d",
        "REDIS_HOST": "redis",
        "REDIS_PORT": "6380",
        "BLOCK_SIZE": "1024",  # of ls
    }

    assert changed(set_up(environ=environ).loaded) == {
        "port": 80,
        "block_accounts": "remote",
        "block_accounting_url": "http://accounting",
        "block_accounting_secret": "geheim",
        "block_store": "/data",
        "file_store": NO_CONTENTS,
        "block_max_body_bytes": 7,
        "block_metrics_port": 9000,
        "block_transfers": 3,
        "logging_config": "/logging.json",
        "db_path": "postgresql://h/d",
        "block_cache": "redis://redis:6380/0",
        "block_events": "redis://redis:6380/0",
    }


@pytest.mark.contract("A.14/yaml", "A.13/environment", "K-500")
def test_later_places_win(set_up: SetUp, places: dict[str, Path]) -> None:
    def say(path: Path, **options: object) -> None:
        lines = "".join(f"        {name}: {value}\n" for name, value in options.items())
        path.write_text(f"run: {{echo: true}}\nqabel:\n    block:\n{lines}")

    say(places["system"] / "invoke.yaml", port=1, transfers=11, max_body_size=11)
    say(places["system"] / "qabel.yaml", port=2, transfers=12)
    say(places["home"] / ".qabel.yaml", port=3)
    (places["project"] / "invoke.json").write_text('{"qabel": {"block": {"port": 4, "debug": false}}}')
    (places["project"] / "invoke.py").write_text("raise SystemExit")  # JSON comes first
    said = set_up().settings

    assert (said.port, said.block_transfers, said.block_max_body_bytes) == (4, 12, 11)
    (places["project"] / "qabel.py").write_text('"""Ours."""\nqabel = {"block": {"port": 5}}\n')
    assert set_up().settings.port == 5
    assert set_up(environ={"BLOCK_PORT": "6"}).settings.port == 6
    assert set_up(environ={"BLOCK_PORT": "6", "METEORPI_PORT": "7"}).settings.port == 7
    assert set_up("--port", "8", environ={"METEORPI_PORT": "7"}).settings.port == 8
    say(places["project"] / "qabel.yaml", block_transfers=13)
    assert set_up().settings.block_transfers == 13
    assert set_up(environ={"BLOCK_TRANSFERS": "14"}).settings.block_transfers == 14
    named = places["project"] / "other.yaml"
    say(named, transfers=9)
    assert (set_up("other.yaml").settings.port, set_up("other.yaml").settings.block_transfers) == (8888, 9)


@pytest.mark.contract("A.14/yaml", "A.13/names", "K-500", "K-501", "KD-21", "A.13/file")
def test_section_has_relative_paths_settings_and_a_part_for_another_server(
    set_up: SetUp, places: dict[str, Path]
) -> None:
    (places["home"] / "secret").write_text("geheim\n")
    document = f"""
qabel:
    block:
        local-storage: storage
        logging_config: logging.json
        api-secret: of the sample
        api_secret_file: {places["home"]}/secret
        block_quota_default: 5
        block_metrics_secret_file: {places["home"]}/secret
        cors-origins: [https://a.example, https://b.example]
        asyncio: true
        uwsgi:
            processes: 4
"""
    (places["home"] / ".qabel.yaml").write_text(document)
    own = set_up()

    said = own.settings
    assert said.block_store == str(places["project"] / "storage")
    assert said.logging_config == str(places["project"] / "logging.json")
    assert (said.block_accounting_secret, said.block_metrics_secret) == ("geheim", "geheim")
    assert (said.block_quota_default, said.cors_origins) == (5, ("https://a.example", "https://b.example"))
    assert [place.rpartition(": ")[2] for place in own.found.notes] == ["asyncio"]
    assert own.loaded.aliases[f"{places['home']}/.qabel.yaml: uwsgi"] == ""
    assert "geheim" not in repr(own.loaded)

    assert BlockSetup(Setup({}, NO_FILE), places["home"] / ".qabel.yaml").settings.block_store == str(
        places["home"] / "storage"
    )


@pytest.mark.contract("A.13/file", "A.13/names", "K-500", "A.14/yaml")
def test_file_of_assignments_is_read_and_not_run(set_up: SetUp, places: dict[str, Path]) -> None:
    file = places["project"] / "server.conf"
    file.write_text('"""Ours."""\nport = 9000\nmax_body_size = 5\ndebug = True\nlocal_storage = "x"\n')
    said = set_up("server.conf").settings

    assert (said.port, said.block_max_body_bytes, said.block_insecure) == (9000, 5, True)
    assert said.block_store == "x"
    assert set_up("server.conf", "--port=1", "--debug=no").settings.port == 1
    for text in ("import os", "port = 8888 + 1", "port = [", "port += 1"):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=r"server\.conf"):
            _ = set_up("server.conf").settings


@pytest.mark.contract("K-500", "KD-21")
@pytest.mark.parametrize(
    ("arguments", "environ", "text", "told"),
    [
        ([], {"BLOCK_PROT": "1"}, "", "BLOCK_PROT. Did you mean BLOCK_PORT?"),
        (
            [],
            {},
            "qabel: {block: {transfer: 5}}",
            "transfer is no option of the block server. Did you mean transfers?",
        ),
        ([], {}, "qabel: {block: {port: many}}", "qabel.yaml: port: 'many' is not a whole number"),
        ([], {}, "qabel: {block: {port: {a: 1}}}", "port must be a plain value"),
        ([], {}, "qabel: {block: [port]}", "holds no names with values"),
        ([], {}, "qabel: [", "is not YAML"),
        ([], {}, "just text", "holds no names with values"),
        (["missing.yaml"], {}, "", "cannot read missing.yaml"),
        (["qabel.yaml"], {}, "other: 1", "has no section qabel: block:"),
        (["--dummy"], {}, "", "--dummy: storage that forgets is for debug mode only"),
        (["--debug=perhaps"], {}, "", "--debug: 'perhaps' is neither true nor false"),
        (["--psql-dsn", "nonsense"], {}, "", "--psql-dsn: that is neither the URL nor the DSN"),
        (["--apisecret-file", "missing"], {}, "", "--apisecret-file: cannot read missing"),
        (["--log-file-prefix=x", "--log-rotate-mode=never"], {}, "", "--log-rotate-mode must be one of"),
        (["--log-file-prefix=x", "--log-file-max-size=-1"], {}, "", "--log-file-max-size: '-1'"),
    ],
)
def test_what_cannot_be_meant_stops_the_start(
    set_up: SetUp,
    places: dict[str, Path],
    arguments: list[str],
    environ: dict[str, str],
    text: str,
    told: str,
) -> None:
    if text:
        (places["project"] / "qabel.yaml").write_text(text)

    own = set_up(*arguments, environ=environ)
    with pytest.raises(ConfigurationError) as caught:
        assert all((own.settings, read_log_choice(own.found.sayings.options)))

    assert told in caught.value.detail


@pytest.mark.contract("K-501", "A.13/apisecret", "A.13/dummy-auth", "A.13/psql-dsn")
def test_secrets_leave_the_arguments(set_up: SetUp) -> None:
    given = ["serve", "--apisecret=geheim", "--port", "1", "--psql_dsn", "postgres://u:p@h/d"]
    concealed = with_secrets_in_pipes([*given, "--dummy-auth-file", "/a/file", "--dummy-auth", "WORT"])
    pipes = [int(word.removeprefix("/dev/fd/")) for word in concealed if word.startswith("/dev/fd/")]

    said = set_up(*concealed[1:7], *concealed[9:]).settings
    for number in pipes:
        os.close(number)

    text = " ".join(concealed)
    assert not {word for word in ("geheim", "u:p", "WORT") if word in text}
    assert (said.block_accounting_secret, said.db_path) == ("geheim", "postgresql://u:p@h/d")
    assert (said.block_dummy_token, len(pipes)) == ("WORT", 3)
    assert with_secrets_in_pipes(["serve", "--port=1"]) == ["serve", "--port=1"]


@pytest.fixture
def root_log() -> Iterator[logging.Logger]:
    """The root logger, which has the same handlers and level afterwards."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield root
    for handler in list(root.handlers):
        if handler not in handlers:
            root.removeHandler(handler)
            handler.close()
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)


@pytest.mark.contract("A.13/log-file", "A.13/log-to-stderr")
@pytest.mark.parametrize("is_shown", [False, True])
def test_log_goes_to_files_that_are_begun_anew(
    set_up: SetUp, root_log: logging.Logger, is_shown: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--log-file-prefix=server.log", "--log-file-max-size=200", "--log_file_num_backups=2"]
    set_up(*options, *(["--log-to-stderr"] if is_shown else [])).configure_logging()

    for number in range(20):
        logging.getLogger("meteorpi.block.test").info("line number=%d of several", number)

    assert {path.name for path in Path().glob("server.log*")} == {
        "server.log",
        "server.log.1",
        "server.log.2",
    }
    assert "line number=19" in Path("server.log").read_text()
    assert ("number=0" in capsys.readouterr().err) is is_shown


@pytest.mark.contract("A.13/log-file", "A.13/logging")
def test_log_files_may_go_by_time_and_the_log_may_be_left_alone(
    set_up: SetUp, root_log: logging.Logger
) -> None:
    before = list(root_log.handlers)
    set_up("--logging=none", "--log-file-prefix=x.log").configure_logging()
    assert root_log.handlers == before

    options = ["--log-file-prefix=x.log", "--log-rotate-mode=time", "--log-rotate-when=H"]
    set_up(*options, "--log-rotate-interval=6").configure_logging()

    (handler,) = (
        each for each in root_log.handlers if isinstance(each, logging.handlers.TimedRotatingFileHandler)
    )
    assert (handler.interval, handler.backupCount) == (6 * 3600, 10)
