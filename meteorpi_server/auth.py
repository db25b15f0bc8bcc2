"""Who is asking, and may they: Basic passwords, Bearer tokens, roles, throttled logins, the audit log.

No or wrong credentials are 401 with one message whatever was wrong; a valid account without the role is 403.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from flask import g, has_request_context, request
from flask.typing import ResponseReturnValue

from meteorpi_model import User
from meteorpi_model.errors import NotAllowedError, NotAuthenticatedError
from meteorpi_server import cors
from meteorpi_server.context import current_database, current_settings

View = TypeVar("View", bound=Callable[..., ResponseReturnValue])

logger = logging.getLogger("meteorpi.server.auth")

ANONYMOUS: Final = "anonymous"
_NO_CREDENTIALS: Final = "this route needs an account: send HTTP Basic credentials or a Bearer token"
_WRONG_CREDENTIALS: Final = "unknown account, wrong password or token, or an account that is disabled"


@dataclass(frozen=True)
class Identity:
    """Who sent the current request.

    Attributes:
        user: the account, its roles narrowed to the scope of the token where one was used.
        method: ``basic`` or ``bearer``.
    """

    user: User
    method: str


def requires_auth(roles: Iterable[str] | None = None) -> Callable[[View], View]:
    """Decorator for views: a valid account with every one of `roles`; None takes any valid account."""
    required = tuple(roles or ())

    def decorate(view: View) -> View:
        @functools.wraps(view)
        def guarded(*args: object, **kwargs: object) -> ResponseReturnValue:
            authorise(required)
            return view(*args, **kwargs)

        guarded.required_roles = required  # type: ignore[attr-defined]  # read by the API description
        return cast(View, guarded)

    return decorate


def required_roles(view: Callable[..., object]) -> tuple[str, ...] | None:
    """Roles that `view` asks for; None when it is open to all, empty when any valid account will do."""
    return cast("tuple[str, ...] | None", getattr(view, "required_roles", None))


def authorise(required: Iterable[str]) -> User:
    """The account of the current request, if it has every one of the `required` roles.

    Raises:
        NotAuthenticatedError: no credentials, wrong ones, or those of a disabled account.
        NotAllowedError: the account lacks a role, or a page of another site is asking.
        TooManyAttemptsError: too many logins of this account or address have failed.
    """
    identity = identify()
    if identity is None:
        raise NotAuthenticatedError(_NO_CREDENTIALS)
    missing = [role for role in required if not identity.user.has_role(role)]
    if missing:
        raise NotAllowedError(f"account {identity.user.user_id!r} lacks role {missing[0]}")
    if identity.method == "basic":
        cors.refuse_foreign_pages(current_settings().cors_origins)
    return identity.user


def identify() -> Identity | None:
    """Who sent the current request, looked up once; None when it came without credentials.

    Raises:
        NotAuthenticatedError: there are credentials, and they are wrong.
        TooManyAttemptsError: too many logins of this account or address have failed.
    """
    if "meteorpi_identity" not in g:
        g.meteorpi_identity = _identify()
    return cast("Identity | None", g.meteorpi_identity)


def get_user() -> User | None:
    """The account of the current request; None when it has none, or none was asked for."""
    identity = cast("Identity | None", g.get("meteorpi_identity")) if has_request_context() else None
    return None if identity is None else identity.user


def record_audit(action: str, subject: str, detail: str | None = None) -> None:
    """Write down what the account of the current request did.

    Args:
        action: what was done, such as ``user.delete``.
        subject: what it was done to.
        detail: more for a person; never a password or token.
    """
    user = get_user()
    current_database().record_audit(
        actor=ANONYMOUS if user is None else user.user_id,
        action=action,
        subject=subject,
        detail=detail,
        address=request.remote_addr,
    )


def _identify() -> Identity | None:
    try:
        credentials = request.authorization
    except ValueError as error:  # what should be base64 is not even ASCII; other defects give None
        raise NotAuthenticatedError(_WRONG_CREDENTIALS) from error
    if credentials is None:
        if "Authorization" in request.headers:
            raise NotAuthenticatedError(_WRONG_CREDENTIALS)
        return None
    if credentials.type == "bearer" and credentials.token:
        return Identity(_user_of_token(credentials.token), "bearer")
    if credentials.type == "basic" and credentials.username is not None:
        return Identity(_user_of_password(credentials.username, credentials.password or ""), "basic")
    raise NotAuthenticatedError(_WRONG_CREDENTIALS)


def _user_of_token(secret: str) -> User:
    try:
        return current_database().get_user_by_token(secret)
    except ValueError as error:
        raise NotAuthenticatedError(_WRONG_CREDENTIALS) from error


def _user_of_password(user_id: str, password: str) -> User:
    """The account, with failed attempts counted in the database, where every process sees them."""
    try:
        return current_database().log_in(user_id, password, request.remote_addr)
    except (ValueError, NotAuthenticatedError) as error:
        logger.warning("login failed user_id=%r address=%s", user_id, request.remote_addr)
        raise NotAuthenticatedError(_WRONG_CREDENTIALS) from error
