"""Errors that the block routes answer in a way of their own.

Source: K-110 and K-147 of the storage contract.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from flask import Blueprint
from werkzeug.wrappers import Response

from meteorpi_model import now
from meteorpi_model.errors import (
    MeteorError,
    NotAuthenticatedError,
    PreconditionFailedError,
    QuotaReachedError,
    TrafficReachedError,
)
from meteorpi_model.values import JsonObject
from meteorpi_server import problems

_NUMBERS: Final = frozenset({"quota", "size", "requested", "prefix"})


def add_handlers(blueprint: Blueprint) -> None:
    """Have `blueprint` answer so."""
    blueprint.register_error_handler(NotAuthenticatedError, _refuse_unknown)
    blueprint.register_error_handler(PreconditionFailedError, _refuse_state)
    blueprint.register_error_handler(QuotaReachedError, _refuse_bytes)
    blueprint.register_error_handler(TrafficReachedError, _refuse_reading)


def _refuse_unknown(error: NotAuthenticatedError) -> Response:
    """403, which published clients know, and not 401."""
    return problems.problem(403, error.code, error.detail)


def _refuse_state(error: PreconditionFailedError) -> Response:
    """With the present tag, where there is one."""
    response = problems.problem(412, error.code, error.detail)
    tag = error.context.get("tag")
    if tag is not None:
        response.headers["ETag"] = str(tag)
    return response


def _refuse_bytes(error: QuotaReachedError) -> Response:
    """With what there may be, is, and was to be, in bytes."""
    return problems.problem(402, error.code, error.detail, members=_told(error))


def _refuse_reading(error: TrafficReachedError) -> Response:
    """With the time from which there may be reading again."""
    members = {**_told(error), "resets": f"{next_month(now()).isoformat()}Z"}
    return problems.problem(402, error.code, error.detail, members=members)


def _told(error: MeteorError) -> JsonObject:
    return {name: value for name, value in error.context.items() if name in _NUMBERS}


def next_month(time: datetime) -> datetime:
    """When the month after that of `time` begins; both naive UTC."""
    years, month = divmod(time.month, 12)
    return datetime(time.year + years, month + 1, 1)
