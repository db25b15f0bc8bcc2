"""Settings: read once, checked, and documented from the same declarations."""

from __future__ import annotations

from pathlib import Path

import pytest

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.settings import Settings


def test_a_fresh_clone_needs_no_settings() -> None:
    assert Settings.from_environ({"PATH": "/bin"}) == Settings()


def test_each_kind_of_value_is_read() -> None:
    settings = Settings.from_environ(
        {
            "METEORPI_DB_PATH": " postgresql://hub/meteorpi ",
            "METEORPI_PORT": "8080",
            "METEORPI_EXPORT": "Yes",
            "METEORPI_CORS_ORIGINS": "https://a.example, https://b.example,",
        }
    )

    assert settings.db_path == "postgresql://hub/meteorpi"
    assert settings.port == 8080
    assert settings.export is True
    assert settings.cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({"METEORPI_PROT": "1"}, "METEORPI_PROT"),
        ({"METEORPI_PORT": "many"}, "METEORPI_PORT"),
        ({"METEORPI_PORT": "-1"}, "METEORPI_PORT"),
        ({"METEORPI_PORT": ""}, "METEORPI_PORT"),
        ({"METEORPI_EXPORT": "perhaps"}, "METEORPI_EXPORT"),
        ({"METEORPI_PORT_FILE": "/etc/port"}, "METEORPI_PORT_FILE"),
        ({"METEORPI_DB_PASSWORD_FILE": "/does/not/exist"}, "METEORPI_DB_PASSWORD_FILE"),
        ({"METEORPI_DB_PASSWORD": "a", "METEORPI_DB_PASSWORD_FILE": "b"}, "METEORPI_DB_PASSWORD"),
    ],
)
def test_what_cannot_be_read_stops_the_start_and_is_named(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Settings.from_environ(environ)


@pytest.mark.contract("B-53")
def test_secrets_come_from_files_and_are_not_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("sesame\n")

    settings = Settings.from_environ({"METEORPI_DB_PASSWORD_FILE": str(secret)})

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
