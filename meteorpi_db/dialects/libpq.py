"""Databases as programs that use libpq name them, in a URL or in words such as ``host=db dbname=blocks``."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import URL

from meteorpi_model.errors import ConfigurationError, InvalidDocumentError

_DRIVER: Final = re.compile(r"^postgres(?:ql)?(?:\+\w+)?(?=:)")
_PLAIN_HOST: Final = re.compile(r"[\w.:-]+")
"""A host as a URL has it; the directory of a socket, or several hosts, are parameters there."""


def url_of_dsn(dsn: str) -> str:
    """The URL that stands for `dsn`, with the password that it holds.

    Args:
        dsn: a URL, of which only the name of the driver may change, or words as libpq reads them.

    Raises:
        InvalidDocumentError: it is neither.
        ConfigurationError: words need the driver to be read, and that is not installed.

    Source:
        PostgreSQL manual, "Connection Strings" of libpq.
    """
    if "://" in dsn:
        return _DRIVER.sub("postgresql", dsn, count=1)
    try:
        from psycopg.conninfo import conninfo_to_dict
    except ModuleNotFoundError as error:
        extra = "pip install 'meteorpi[postgresql]'"
        raise ConfigurationError(f"this database needs another package: {extra}") from error
    from psycopg import ProgrammingError

    try:
        words = {name: str(value) for name, value in conninfo_to_dict(dsn).items() if value is not None}
    except ProgrammingError as error:
        # The text may hold a password, so neither it nor the parser's message is repeated.
        raise InvalidDocumentError("that is neither the URL nor the DSN of a database") from error
    user, password, database = (words.pop(name, None) for name in ("user", "password", "dbname"))
    host = words.pop("host") if _PLAIN_HOST.fullmatch(words.get("host", "")) else None
    url = URL.create("postgresql", user, password, host, database=database, query=words)
    return url.render_as_string(hide_password=False)
