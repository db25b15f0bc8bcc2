"""Archives under a password, which is kept sealed until the last download of their ticket.

Whoever holds the link downloads without it, and cannot read what came. In the database it is encrypted with
the key that protects the passwords of peers, so that a copy of the database alone gives nothing away.

Source:
    Section 3.16 of the archive contract.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from meteorpi_db import MeteorDatabase
from meteorpi_db.archives.tickets import Ticket
from meteorpi_model.errors import ConfigurationError, InvalidDocumentError, UnavailableError
from meteorpi_model.values import JsonObject
from meteorpi_server.archive_api.refusals import RefusedRequestError
from meteorpi_server.archiving import Entry, Form
from meteorpi_server.archiving.encryption import is_offered

_KEPT_AS: Final = "sealed_password"
_MOST_BYTES: Final = 500


def read_password(value: object) -> str:
    """A password out of a request; no error repeats it.

    Raises:
        InvalidDocumentError: it is none, or this node cannot encrypt.
    """
    if not is_offered():
        raise InvalidDocumentError("this node cannot encrypt; it needs: pip install 'meteorpi[archive]'")
    if not isinstance(value, str) or not value or not value.isprintable():
        raise InvalidDocumentError("a password is one line of text that is not empty")
    if len(value.encode()) > _MOST_BYTES:  # what is printable can be encoded
        raise InvalidDocumentError(f"a password has at most {_MOST_BYTES} bytes")
    return value


def wrong_hint(password: str | None, hint: str) -> str | None:
    """What is wrong with a hint to a password, if anything is."""
    if not hint:
        return None
    if password is None:
        return "a hint needs a password"
    return "the hint gives the password away" if password.casefold() in hint.casefold() else None


def under_password(entry: Entry) -> Entry:
    """`entry` encrypted; a directory has nothing to encrypt."""
    if entry.is_directory:
        return entry
    form = Form.ENCRYPTED_STREAMED if entry.form is Form.STREAMED else Form.ENCRYPTED
    return replace(entry, form=form)


def sealed_password(db: MeteorDatabase, password: str | None) -> JsonObject:
    """What the options of a ticket keep of `password`.

    Raises:
        RefusedRequestError: the node has no key to seal it with.
    """
    if password is None:
        return {}
    try:
        return {_KEPT_AS: db.secret_box.seal(password)}
    except ConfigurationError as error:
        raise RefusedRequestError({"options": {"password": ["this node cannot keep passwords"]}}) from error


def shown_options(ticket: Ticket) -> JsonObject:
    """The options of a ticket without what is nobody's business, encrypted or not."""
    return {name: value for name, value in ticket.options.items() if name != _KEPT_AS}


def password_of(db: MeteorDatabase, ticket: Ticket) -> str | None:
    """The password of a ticket's archive; None for one without.

    Raises:
        UnavailableError: the node does not have the key that it was sealed with.
    """
    sealed = ticket.options.get(_KEPT_AS)
    if not isinstance(sealed, str):
        return None
    try:
        return db.secret_box.open(sealed)
    except ConfigurationError as error:
        raise UnavailableError("the password of this archive cannot be read at present") from error
