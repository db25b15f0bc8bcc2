"""What the current request works on: database and settings, known without knowing the application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from flask import Flask, current_app, g, has_request_context

from meteorpi_db import MeteorDatabase
from meteorpi_server.settings import Settings
from meteorpi_server.thumbnails import Shelf

_EXTENSION: Final = "meteorpi_node"


@dataclass(frozen=True)
class NodeContext:
    """What views and their helpers need to know of the node."""

    db: MeteorDatabase
    settings: Settings
    thumbnails: Shelf


def bind(app: Flask, context: NodeContext) -> None:
    """Make `context` that of every request to `app`."""
    app.extensions[_EXTENSION] = context


def current_database() -> MeteorDatabase:
    """The database that the current request works on."""
    return _current().db


def current_settings() -> Settings:
    """The settings that the current request works under."""
    return _current().settings


def current_thumbnails() -> Shelf:
    """The thumbnails of the application that handles the current request."""
    return _current().thumbnails


def current_request_id() -> str:
    """What log lines of the current request carry; empty outside of one."""
    return cast(str, g.get("meteorpi_request_id", "")) if has_request_context() else ""


def _current() -> NodeContext:
    return cast(NodeContext, current_app.extensions[_EXTENSION])
