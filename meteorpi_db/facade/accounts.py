"""`MeteorDatabase`: accounts, tokens, throttling and the audit log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from meteorpi_db import limits
from meteorpi_db.accounts import audit, throttle, tokens, users
from meteorpi_db.accounts.audit import AuditEntry
from meteorpi_db.accounts.passwords import PasswordChecker, hash_password, is_first_generation
from meteorpi_db.accounts.tokens import ApiToken
from meteorpi_db.accounts.users import Account, Outcome
from meteorpi_db.blocks import tokens as block_tokens
from meteorpi_db.blocks.directory import LOCAL, stored_id
from meteorpi_db.facade.base import FacadePart
from meteorpi_model import User
from meteorpi_model.errors import ConflictError, NotAllowedError, NotAuthenticatedError

_WRONG_LOGIN: Final = "wrong user or password"


class AccountMethods(FacadePart):
    """Accounts and who uses them."""

    password_checker: PasswordChecker

    def get_user(self, user_id: str, password: str) -> User:
        """The account, if that is its password.

        Every call looks at the database, so roles, passwords and accounts changed by another process count at
        once; only the slow part of the check is remembered for a minute.

        Raises:
            NotAuthenticatedError: unknown or disabled account, or wrong password (a ``ValueError``).
        """
        if not isinstance(user_id, str) or not isinstance(password, str):
            raise NotAuthenticatedError(_WRONG_LOGIN)
        with self.transactions.reading() as connection:
            found = users.credentials_of(connection, user_id)
        return self._user_of(user_id, password, found)

    def log_in(self, user_id: str, password: str, address: str | None) -> User:
        """The account, if that is its password; whoever guesses, by name or from an address, has to wait.

        One look at the database where nothing has failed: every request with a password comes this way.

        Args:
            user_id: the account.
            password: its password, perhaps.
            address: where the attempt comes from.

        Raises:
            TooManyAttemptsError: too many have failed; says for how long to wait. Nothing was checked.
            NotAuthenticatedError: as for :meth:`get_user`; the failure was counted.
        """
        subjects = (f"user:{user_id}", f"address:{address}")
        now = self._now()
        with self.transactions.reading() as connection:
            failed = throttle.check(connection, subjects, now)
            found = users.credentials_of(connection, user_id)
        try:
            user = self._user_of(user_id, password, found)
        except NotAuthenticatedError:
            self.transactions.write(lambda connection: throttle.record_failure(connection, subjects, now))
            raise
        if subjects[0] in failed:
            self.clear_login_failures(subjects[0])
        return user

    def _user_of(self, user_id: str, password: str, found: users.Credentials | None) -> User:
        stored = None if found is None else found.password_hash
        is_right = self.password_checker.check(user_id, password, stored)
        if found is None or not is_right or not found.is_enabled:
            raise NotAuthenticatedError(_WRONG_LOGIN)
        if is_first_generation(found.password_hash):
            self._renew_hash(user_id, password, found.password_hash)
        return User(user_id, found.role_mask)

    def _renew_hash(self, user_id: str, password: str, old_hash: str) -> None:
        """Keep the password of an account from the first generation in the present form from now on."""
        new_hash = hash_password(password)
        self.transactions.write(lambda c: users.replace_hash(c, user_id, old_hash, new_hash))

    def get_users(self) -> list[User]:
        """Every account, by id."""
        with self.transactions.reading() as connection:
            return users.all_users(connection)

    def get_accounts(self) -> list[Account]:
        """Every account with whether it is enabled and what it is restricted to, by id."""
        with self.transactions.reading() as connection:
            return users.all_accounts(connection)

    def create_or_update_user(
        self, user_id: str, password: str | None, roles: Iterable[str] | None
    ) -> Outcome:
        """Make an account, or change what is not None of one.

        Args:
            user_id: up to 40 characters, without ``:``.
            password: needed for a new account.
            roles: names of roles; None for a new account means ``user``.

        Returns:
            ``none``, ``create`` or ``update``: what was done.

        Raises:
            InvalidDocumentError: unknown role, or no password for a new account (a ``ValueError``).
            ConflictError: nobody would be left to administrate.
        """
        change = users.checked_change(user_id, password, roles)
        now = self._now()
        return self.transactions.write(lambda connection: users.create_or_update(connection, change, now))

    def set_user_roles(self, changes: Mapping[str, Iterable[str]], actor: str | None = None) -> None:
        """Give accounts new roles, all of them or none.

        Args:
            changes: roles by user id.
            actor: who asks for it: cannot stop being an administrator by it.

        Raises:
            NotFoundError: one of the accounts does not exist.
            ConflictError: nobody, or not the actor, would be left to administrate.
        """
        masks = {user_id: User.role_mask_from_roles(roles) for user_id, roles in changes.items()}
        if actor in masks and not User(actor, masks[actor]).has_role("camera_admin"):
            raise ConflictError("nobody can give up administrating by themselves")
        self.transactions.write(lambda connection: users.set_roles(connection, masks))

    def delete_user(self, user_id: str, keep_administrator: bool = True) -> None:
        """Delete an account with its tokens, those for blocks too; unknown: nothing happens.

        Prefixes and objects of blocks stay.

        Raises:
            ConflictError: nobody would be left to administrate, and `keep_administrator` forbids that.
        """

        def operation(connection: Connection) -> None:
            if users.delete_user(connection, user_id, keep_administrator):
                block_tokens.revoke_all(connection, stored_id(LOCAL, user_id))

        self.transactions.write(operation)

    def set_user_enabled(self, user_id: str, is_enabled: bool, actor: str | None = None) -> None:
        """Enable an account, or disable it: then it can do nothing, whatever its roles and tokens (B-49).

        Args:
            user_id: the account.
            is_enabled: which of both.
            actor: who asks for it: cannot disable the own account.
        """
        if actor == user_id and not is_enabled:
            raise ConflictError("nobody can disable the account they are using")
        self.transactions.write(lambda connection: users.set_enabled(connection, user_id, is_enabled))

    def set_user_cameras(self, user_id: str, camera_ids: Sequence[str] | None) -> None:
        """Restrict what an account may import to these cameras; None lifts the restriction (B-50)."""
        self.transactions.write(lambda connection: users.set_cameras(connection, user_id, camera_ids))

    def get_user_cameras(self, user_id: str) -> list[str] | None:
        """The only cameras whose data an account may import; None for any."""
        with self.transactions.reading() as connection:
            return users.cameras_of(connection, user_id)

    def check_camera_allowed(self, user: User | str, camera_id: str) -> None:
        """Return when an account may import data of a camera; `NotAllowedError` otherwise."""
        user_id = user.user_id if isinstance(user, User) else user
        allowed = self.get_user_cameras(user_id)
        if allowed is not None and camera_id not in allowed:
            raise NotAllowedError(f"account {user_id!r} may not push data of camera {camera_id!r}")

    def create_api_token(
        self,
        user_id: str,
        name: str,
        roles: Iterable[str] | None = None,
        expires: datetime | None = None,
    ) -> tuple[UUID, str]:
        """Make a token that stands for an account; gives its id, and its secret this once.

        Args:
            user_id: the account.
            name: for people.
            roles: those the token may use, at most what the account has; None for all of these.
            expires: UTC; None for never.

        Raises:
            NotFoundError: no such account.
            NotAllowedError: the account lacks one of the roles.
        """
        wanted = None if roles is None else list(roles)
        expires_at = None if expires is None else limits.checked_time(expires, "expires")
        now = self._now()
        return self.transactions.write(
            lambda connection: tokens.create(connection, user_id, name, wanted, expires_at, now)
        )

    def get_api_tokens(self, user_id: str | None = None) -> list[ApiToken]:
        """The tokens of an account (None: of all), oldest first, without their secrets."""
        with self.transactions.reading() as connection:
            return tokens.all_tokens(connection, user_id)

    def revoke_api_token(self, token_id: UUID) -> None:
        """Make a token worthless; unknown: nothing happens."""
        wanted = limits.checked_id(token_id, "token_id")
        self.transactions.write(lambda connection: tokens.revoke(connection, wanted))

    def get_user_by_token(self, secret: str) -> User:
        """The account that a token stands for, with the roles that both of them have.

        Raises:
            NotAuthenticatedError: unknown, revoked or expired, or the account is disabled (a ``ValueError``).
        """
        now = self._now()
        with self.transactions.reading() as connection:
            use = tokens.find(connection, secret, now)
        if use.should_be_noted:
            self.transactions.write(lambda connection: tokens.note_use(connection, use.token_id, now))
        return use.user

    def clear_login_failures(self, subject: str) -> None:
        """Forget the failed logins of `subject`: ``user:<id>`` or ``address:<ip>``."""
        self.transactions.write(lambda connection: throttle.clear(connection, subject))

    def record_audit(
        self, actor: str, action: str, subject: str, detail: str | None = None, address: str | None = None
    ) -> None:
        """Write down who did what to what (B-59); never give it a password or token."""
        now = self._now()
        self.transactions.write(
            lambda connection: audit.record(
                connection,
                actor=actor,
                action=action,
                subject=subject,
                detail=detail,
                address=address,
                now=now,
            )
        )

    def get_audit_log(self, limit: int = 100, before_id: int | None = None) -> list[AuditEntry]:
        """The last `limit` entries, newest first; those before entry `before_id` when it is given."""
        with self.transactions.reading() as connection:
            return audit.entries(connection, limit, before_id)
