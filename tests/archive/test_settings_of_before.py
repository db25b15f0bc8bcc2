"""Settings under the names of FPX and of the directory service, and which of them wins."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.settings import Settings, load_settings

NO_FILE = {"METEORPI_CONFIG": ""}

FPX_KEYS_WITH_VALUES: dict[str, tuple[str, str, object]] = {
    "DEBUG": ("True", "archive_debug", True),
    "HOST": ("'0.0.0.0'", "archive_host", "0.0.0.0"),
    "PORT": ("8000", "archive_port", 8000),
    "DB_URL": ("'sqlite:////tmp/fpx.db'", "archive_db_url", "sqlite:////tmp/fpx.db"),
    "DB_EXTRAS": ("{'pool_size': 3}", "archive_db_extras", '{"pool_size": 3}'),
    "KEEP_ALIVE": ("False", "", None),
    "CORS_ORIGINS": ("'*'", "archive_cors_origins", ("*",)),
    "FALLBACK_ERROR_FORMAT": ("'json'", "", None),
    "JWT_ALGORITHM": ("'HS256'", "archive_jwt_algorithm", "HS256"),
    "SIMULTANEOURS_DOWNLOADS_LIMIT": ("5", "archive_simultaneous_downloads_limit", 5),
    "FPX_NO_QUEUE": ("False", "archive_no_queue", False),
    "FPX_TRANSPORT": ("'aiohttp'", "archive_transport", "auto"),
    "FPX_PIPE_SILLY_STREAM": ("True", "", None),
    "FPX_LOG_LEVEL": ("'INFO'", "archive_log_level", "INFO"),
}
"""Each key of FPX as its file has it, our setting, and what that becomes."""


@pytest.mark.contract("archive-fpx/keys", "archive-3.21")
@pytest.mark.parametrize("key", FPX_KEYS_WITH_VALUES)
def test_key_of_fpx_is_read_from_its_file_and_its_variable(key: str, tmp_path: Path) -> None:
    written, name, expected = FPX_KEYS_WITH_VALUES[key]
    config = tmp_path / "fpx.py"
    config.write_text(f'"""Settings."""\n{key} = {written}\n')
    text = written.strip("'").replace("'", '"')

    for environ in ({"FPX_CONFIG": str(config)}, {f"FPX_{key}": text}):
        loaded = load_settings(NO_FILE | environ, aliases=("fpx",))
        assert len(loaded.aliases) == 1
        assert loaded.origins == ({name: "alias"} if name else {})
        assert not name or getattr(loaded.settings, name) == expected


def test_prefix_that_some_keys_have_anyhow_need_not_be_doubled() -> None:
    for variable in ("FPX_NO_QUEUE", "FPX_FPX_NO_QUEUE"):
        loaded = load_settings(NO_FILE | {variable: "False"}, aliases=("fpx",))
        assert loaded.settings.archive_no_queue is False


@pytest.mark.contract("archive-3.21", "archive-fpx/configuration")
def test_command_line_overrides_variables_these_the_file_of_fpx_and_that_everything_else(
    tmp_path: Path,
) -> None:
    config, own = tmp_path / "fpx.py", tmp_path / "meteorpi.toml"
    own.write_text("archive_port = 1\n")
    config.write_text("PORT = 4\n")
    steps: list[tuple[dict[str, str], dict[str, str]]] = [
        ({"METEORPI_CONFIG": str(own)}, {}),
        ({"PORT": "2"}, {}),
        ({"FPX_PORT": "3"}, {}),
        ({"FPX_CONFIG": str(config)}, {}),
        ({"METEORPI_ARCHIVE_PORT": "5"}, {}),
        ({}, {"archive_port": "6"}),
    ]
    environ: dict[str, str] = {}
    for expected, (further, options) in enumerate(steps, start=1):
        environ |= further
        loaded = load_settings(environ, options=options, aliases=("container", "fpx"))
        assert loaded.settings.archive_port == expected


@pytest.mark.contract("archive-3.21")
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("PROT = 1", "line 1: PROT is no setting. Did you mean PORT?"),
        ("\nPORT = 'many'", "line 2: PORT: 'many'"),
        ("import os", "line 1: only assignments"),
        ("PORT = int('8000')", "PORT must be a plain value"),
        ("PORT =", "is not Python"),
        ("JWT_ALGORITHM = 'none'", "JWT_ALGORITHM: must be one of HS256"),
        ("DB_EXTRAS = {'poolclass': print}", "DB_EXTRAS must be a plain value"),
        ("FPX_NO_QUEUE = 'perhaps'", "FPX_NO_QUEUE: 'perhaps' is neither true nor false"),
    ],
)
def test_file_of_fpx_that_cannot_be_used_is_told_by_line(text: str, told: str, tmp_path: Path) -> None:
    config = tmp_path / "fpx.py"
    config.write_text(f"{text}\n")

    with pytest.raises(ConfigurationError) as raised:
        load_settings(NO_FILE | {"FPX_CONFIG": str(config)}, aliases=("fpx",))

    assert told in raised.value.detail


@pytest.mark.contract("archive-3.21")
def test_names_of_before_are_nothing_to_a_node(tmp_path: Path) -> None:
    environ = NO_FILE | {"DEBUG": "-d", "PORT": "80", "FPX_PORT": "81", "FPX_CONFIG": str(tmp_path / "none")}

    assert load_settings(environ).settings == Settings()
