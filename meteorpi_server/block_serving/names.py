"""The options of the Qabel block server, each with what it is called in a container and what became of it.

Names are written with ``-`` or with ``_``.

Source: A.13, K-500 and K-501 of the storage contract; the reference of options of the block server of 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from meteorpi_model.errors import ConfigurationError
from meteorpi_server.declarations import suggestion

FILE_SUFFIX: Final = "-file"
"""What follows the name of a secret in that of the option for a file with it."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option.

    Attributes:
        name: with hyphens.
        help: what it says, for people.
        default: what counts without it, for people.
        metavar: what its value is; empty for one that is on when it is there.
        is_secret: never shown, and also taken from a file.
        note: what is different from before; told to whoever gives it.
    """

    name: str
    help: str
    default: str = ""
    metavar: str = ""
    is_secret: bool = False
    note: str = ""

    @property
    def explanation(self) -> str:
        """`help` with the default."""
        return f"{self.help} Default: {self.default}." if self.default else self.help


_UNUSED: Final = "it has no effect"

OPTIONS: Final[Mapping[str, Option]] = {
    each.name: each
    for each in (
        Option(
            name="accounting-host",
            metavar="URL",
            help="Accounting server that knows the accounts, in place of the users of this node.",
            default="http://localhost:8000 where a secret is given",
        ),
        Option(name="address", metavar="HOST", help="Address to listen on.", default="127.0.0.1"),
        Option(
            name="apisecret",
            metavar="SECRET",
            is_secret=True,
            help="What the accounting server knows this one by; others may see it, so rather use the file.",
        ),
        Option(name="asyncio", help="Accepted, without effect.", note=_UNUSED),
        Option(
            name="debug",
            help="Log everything, and allow what everybody may use: dummy accounts, storage that forgets.",
            note="no answer holds a traceback, and nothing is reloaded",
        ),
        Option(name="dummy", help="Keep objects in memory, for as long as the server runs; needs --debug."),
        Option(
            name="dummy-auth",
            metavar="WORD",
            is_secret=True,
            help="Let everybody in who sends this word, and nobody else; needs --debug.",
        ),
        Option(name="dummy-cache", help="Share nothing through Redis.", default="off"),
        Option(name="dummy-log", help="Accepted, without effect.", note=_UNUSED),
        Option(
            name="local-storage",
            metavar="PATH",
            help="Directory that objects are kept in, or the URL of a file store.",
            default="the bucket, or the file store of the node",
        ),
        Option(
            name="logging-config",
            metavar="PATH",
            help="JSON file that says where log lines go, as logging.config.dictConfig takes it.",
        ),
        Option(
            name="max-body-size", metavar="BYTES", help="Largest object in one request.", default="2147483648"
        ),
        Option(name="port", metavar="NUMBER", help="TCP port; 0 takes a free one.", default="8888"),
        Option(name="prometheus-port", metavar="NUMBER", help="TCP port for metrics alone.", default="none"),
        Option(
            name="psql-dsn",
            metavar="DSN",
            is_secret=True,
            help="Database, as URL or as libpq writes it; with a password in it, rather use the file.",
            default="the database of the node",
        ),
        Option(
            name="redis-host",
            metavar="HOST",
            help="Share answers of the accounting server, and events, through the Redis there.",
            default="nothing is shared, or localhost where a port is given",
        ),
        Option(name="redis-port", metavar="NUMBER", help="Port of that Redis.", default="6379"),
        Option(
            name="s3-bucket",
            metavar="BUCKET",
            help="Bucket that objects are kept in, or s3://BUCKET/... with the options of file stores.",
            default="qabel where --psql-dsn is given and nothing else says where objects are",
        ),
        Option(
            name="transfers",
            metavar="NUMBER",
            help="Transfers at the storage at the same time.",
            default="10",
        ),
        Option(
            name="logging",
            metavar="LEVEL",
            help="Least level that is logged: debug, info, warning, error; none leaves the log alone.",
            default="info",
        ),
        Option(
            name="log-to-stderr",
            help="Log to standard error, beside a file.",
            default="on where there is no file",
        ),
        Option(name="log-file-prefix", metavar="PATH", help="File of the log."),
        Option(
            name="log-file-max-size",
            metavar="BYTES",
            help="Size at which a new file is begun.",
            default="100000000",
        ),
        Option(name="log-file-num-backups", metavar="NUMBER", help="Old files that are kept.", default="10"),
        Option(
            name="log-rotate-mode",
            metavar="MODE",
            help="Begin a new file by size or by time.",
            default="size",
        ),
        Option(
            name="log-rotate-when",
            metavar="UNIT",
            help="Unit of the interval: S, M, H, D, W0 to W6, midnight.",
            default="midnight",
        ),
        Option(
            name="log-rotate-interval", metavar="NUMBER", help="Units between two new files.", default="1"
        ),
    )
}
"""Every option by its name, in the order in which they are shown."""

SPELLINGS: Final[Mapping[str, str]] = {"api-secret": "apisecret"}
"""What the sample configuration of the block server called an option that it did not know by this name."""

VARIABLES: Final[Mapping[str, str]] = {
    "BLOCK_LOGGING_CONFIG": "logging-config",
    "BLOCK_LOCAL_STORAGE": "local-storage",
    "BLOCK_DEBUG": "debug",
    "BLOCK_ACCOUNTING_HOST": "accounting-host",
    "BLOCK_PORT": "port",
    "BLOCK_API_SECRET": "apisecret",
    "BLOCK_MAX_BODY_SIZE": "max-body-size",
    "BLOCK_PROMETHOUS_PORT": "prometheus-port",
    "BLOCK_PROMETHEUS_PORT": "prometheus-port",
    "BLOCK_DUMMY": "dummy",
    "BLOCK_TRANSFERS": "transfers",
    "DATABASE_URL": "psql-dsn",
    "REDIS_HOST": "redis-host",
    "REDIS_PORT": "redis-port",
}
"""The variables of its container; the misspelled one also as it was meant."""

VARIABLE_PREFIX: Final = "BLOCK_"
FOREIGN_VARIABLES: Final = frozenset({"BLOCK_SIZE"})
"""Variables that begin alike and are those of other programs: of ``ls`` and ``du``."""


def option_called(name: str) -> Option | None:
    """The option that `name` stands for, however it is written; that of a secret also for its file."""
    written = name.replace("_", "-")
    for each in (written, written.removesuffix(FILE_SUFFIX)):
        option = OPTIONS.get(SPELLINGS.get(each, each))
        if option is not None and (each == written or option.is_secret):
            return option
    return None


def is_of_file(name: str) -> bool:
    """Whether `name` is that of the option for a file with a secret."""
    return name.replace("_", "-").endswith(FILE_SUFFIX)


def require_known(variables: Mapping[str, str]) -> None:
    """Return when every variable that may be meant for a block server is known.

    Raises:
        ConfigurationError: one is not; names the one that was probably meant.
    """
    for name in sorted(variables):
        if name.startswith(VARIABLE_PREFIX) and name not in VARIABLES and name not in FOREIGN_VARIABLES:
            raise ConfigurationError(f"there is no setting {name}.{suggestion(name, VARIABLES)}")
