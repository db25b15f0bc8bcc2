"""Who may make tickets: clients with their secret, and accounts of the node with a role."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from flask import request
from flask.typing import ResponseReturnValue

from meteorpi_db.archives.clients import SELECTORS, Client
from meteorpi_db.archives.tickets import Owner, Ticket
from meteorpi_model import User
from meteorpi_model.errors import NotAllowedError, NotAuthenticatedError
from meteorpi_server import auth, cors
from meteorpi_server.archive_api.service import current_service

ADMIN: Final = "camera_admin"
USER_SELECTORS: Final = frozenset({"record"})
SECRET_HEADERS: Final = ("X-FPX-Authorize", "Authorization", "Authorize")
"""Where a secret is looked for, in this order; the first that is there counts, right or wrong."""

_NOBODY: Final = "this route needs the secret of a client, or an account"
_UNKNOWN: Final = "no enabled client has this secret"

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Who makes a ticket.

    Attributes:
        owner: as tickets know it.
        selectors: what it may ask for: ``record``, ``dir``, ``url``.
        client: the client, None for an account.
        manages_all: whether tickets of others are its business, too.
    """

    owner: Owner
    selectors: frozenset[str]
    client: Client | None = None
    manages_all: bool = False

    def may_see(self, ticket: Ticket) -> bool:
        """Whether it made `ticket`, or manages all."""
        return self.manages_all or (self.owner != Owner() and ticket.owner == self.owner)


def needs_maker(view: View) -> View:
    """Decorator for views: a client or an account that may make tickets; the view asks `current_maker`."""

    @functools.wraps(view)
    def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
        current_maker()
        return view(*args, **kwargs)

    guarded.required_roles = ()  # type: ignore[attr-defined]  # read by the API description
    return cast(View, guarded)


def current_maker() -> Maker:
    """Who sent the current request.

    Raises:
        NotAuthenticatedError: no credentials, or wrong ones.
        NotAllowedError: the account has none of the roles, or a page of another site is asking.
        TooManyAttemptsError: too many logins of this account or address have failed.
    """
    secret, header = _secret()
    if secret is not None:
        client = current_service().register.client_of_secret(secret)
        if client is not None:
            selectors = client.rights.selectors
            return Maker(owner=Owner(client_id=client.client_id), selectors=selectors, client=client)
        if header != "Authorization" or not _is_bearer():
            raise NotAuthenticatedError(_UNKNOWN)
    return _account(auth.identify())


def maker_if_known() -> Maker | None:
    """As `current_maker`, and None for whoever has no or wrong credentials where none are needed."""
    try:
        return current_maker()
    except (NotAuthenticatedError, NotAllowedError):
        return None


def _account(identity: auth.Identity | None) -> Maker:
    if identity is None:
        raise NotAuthenticatedError(_NOBODY)
    roles = current_service().settings.archive_user_roles
    if not any(identity.user.has_role(role) for role in (*roles, ADMIN)):
        raise NotAllowedError(f"account {identity.user.user_id!r} may not make archives")
    if identity.method == "basic":
        settings = current_service().settings
        cors.refuse_foreign_pages((*settings.cors_origins, *settings.archive_cors_origins))
    return maker_of_user(identity.user)


def maker_of_user(user: User) -> Maker:
    """An account as a maker of tickets."""
    owner = Owner(user_id=user.user_id)
    return Maker(owner=owner, selectors=USER_SELECTORS, manages_all=user.has_role(ADMIN))


ANYBODY: Final = Maker(owner=Owner(), selectors=USER_SELECTORS)
"""Whoever comes without credentials where searching is open to all."""


def _secret() -> tuple[str | None, str]:
    """The secret that was sent, and the header it came in; a login with a password is none."""
    for header in SECRET_HEADERS:
        text = request.headers.get(header, "").strip()
        word, _, rest = text.partition(" ")
        if not text or (header == "Authorization" and word.lower() == "basic"):
            continue
        return (rest.strip() if word.lower() == "bearer" else text), header
    return None, ""


def _is_bearer() -> bool:
    return request.authorization is not None and request.authorization.type == "bearer"


__all__ = ["ANYBODY", "SELECTORS", "Maker", "current_maker", "maker_if_known", "maker_of_user", "needs_maker"]
