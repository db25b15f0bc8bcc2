"""What the options of the Qabel block server mean here: settings of a node.

Source: A.13, K-500 and part G of the storage contract.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from typing import Final

from meteorpi_db.dialects.libpq import url_of_dsn
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError
from meteorpi_server.block_serving.reading import Given
from meteorpi_server.settings_aliases import flag_text

LOCALHOST: Final = "localhost"
DEFAULT_HOST: Final = "127.0.0.1"
"""What the predecessor called localhost, which may have two addresses; servers of ours listen on one."""

DEFAULT_PORT: Final = 8888
DEFAULT_ACCOUNTING: Final = "http://localhost:8000"
DEFAULT_BUCKET: Final = "s3://qabel"
DEFAULT_REDIS_HOST: Final = "localhost"
DEFAULT_REDIS_PORT: Final = "6379"
IN_MEMORY: Final = "memory:"

_SAME: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "accounting-host": ("block_accounting_url", str),
    "address": ("host", lambda text: DEFAULT_HOST if text == LOCALHOST else text),
    "apisecret": ("block_accounting_secret", str),
    "dummy-auth": ("block_dummy_token", str),
    "logging-config": ("logging_config", str),
    "max-body-size": ("block_max_body_bytes", str),
    "port": ("port", str),
    "prometheus-port": ("block_metrics_port", str),
    "psql-dsn": ("db_path", url_of_dsn),
    "transfers": ("block_transfers", str),
}
"""Options that have a setting of their own, and how that is written."""

Options = Mapping[str, Given]


def translate(options: Options, *, has_store: bool) -> dict[str, Given]:
    """The settings that options stand for, by name; each with the place of what decided it.

    Args:
        options: by their names.
        has_store: whether settings of the node say where objects are.

    Raises:
        ConfigurationError: a value means nothing.
    """
    settings: dict[str, Given] = {}
    for name, (setting, text_of) in _SAME.items():
        if name in options:
            settings[setting] = options[name]._replace(text=_text(options[name], text_of))
    for decide in (_accounts, _storage, _sharing, _debugging):
        settings.update(decide(options))
    if "psql-dsn" in options and "block_store" not in settings and not has_store:
        settings["block_store"] = options["psql-dsn"]._replace(text=DEFAULT_BUCKET)
    return settings


def is_on(options: Options, name: str) -> bool:
    """Whether an option without a value is given, and not taken back.

    Raises:
        ConfigurationError: it is neither true nor false.
    """
    if name not in options:
        return False
    return options[name].text == f"--{name}" or _text(options[name], flag_text) == "true"


def _accounts(options: Options) -> dict[str, Given]:
    """Where accounts come from: from whatever is said about any of the places."""
    if "dummy-auth" in options:
        return {"block_accounts": options["dummy-auth"]._replace(text="dummy")}
    told = options.get("accounting-host") or options.get("apisecret")
    if told is None:
        return {}
    found = {"block_accounts": told._replace(text="remote")}
    if "accounting-host" not in options:
        found["block_accounting_url"] = told._replace(text=DEFAULT_ACCOUNTING)
    return found


def _storage(options: Options) -> dict[str, Given]:
    """Where objects are; what is nearer wins, as it did."""
    if is_on(options, "dummy"):
        if not is_on(options, "debug"):
            raise ConfigurationError(f"{options['dummy'].place}: storage that forgets is for debug mode only")
        return {"block_store": options["dummy"]._replace(text=IN_MEMORY)}
    if "local-storage" in options:
        return {"block_store": options["local-storage"]}
    if "s3-bucket" in options:
        bucket = options["s3-bucket"].text
        location = bucket if "://" in bucket else f"s3://{bucket}"
        return {"block_store": options["s3-bucket"]._replace(text=location)}
    return {}


def _sharing(options: Options) -> dict[str, Given]:
    """Whether processes share answers through Redis, and wake each other's listeners."""
    if is_on(options, "dummy-cache"):
        alone = options["dummy-cache"]
        return {"block_cache": alone._replace(text="memory"), "block_events": alone._replace(text="local")}
    told = options.get("redis-host") or options.get("redis-port")
    if told is None:
        return {}
    host = options["redis-host"].text if "redis-host" in options else DEFAULT_REDIS_HOST
    port = options["redis-port"].text if "redis-port" in options else DEFAULT_REDIS_PORT
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    redis = told._replace(text=f"redis://{host}:{urllib.parse.quote(port)}/0")
    return {"block_cache": redis, "block_events": redis}


def _debugging(options: Options) -> dict[str, Given]:
    found: dict[str, Given] = {}
    if is_on(options, "debug"):
        found["block_insecure"] = options["debug"]._replace(text="true")
        found["log_level"] = options["debug"]._replace(text="DEBUG")
    if "logging" in options and options["logging"].text.lower() != "none":
        found["log_level"] = options["logging"]
    return found


def _text(given: Given, text_of: Callable[[str], str]) -> str:
    try:
        return text_of(given.text)
    except InvalidDocumentError as error:
        raise ConfigurationError(f"{given.place}: {error.detail}") from error
    except ValueError as error:
        raise ConfigurationError(f"{given.place}: {error}") from error
