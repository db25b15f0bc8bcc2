"""Database connections and forked children: a child must not use, close or collect its parent's connections.

A connection is shared by nature after a fork: a child that as much as drops its copy tells the server
goodbye in the parent's name, or frees locks that the parent relies on. So the child gets fresh pools, and
its copies of the parent's connections are kept alive for as long as the child lives.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref

from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection

_guarded: weakref.WeakSet[Engine] = weakref.WeakSet()
# Strong references: in the child the frames of the parent's other threads vanish, with all they held.
_open_connections: dict[int, DBAPIConnection] = {}
_changes = threading.Lock()


def protect(engine: Engine) -> None:
    """Give every later forked child its own pool for `engine`."""
    _guarded.add(engine)
    event.listen(engine, "connect", _remember)
    event.listen(engine, "close", _forget)
    event.listen(engine, "close_detached", _forget)


def _remember(connection: DBAPIConnection, _record: object) -> None:
    with _changes:
        _open_connections[id(connection)] = connection


def _forget(connection: DBAPIConnection, _record: object = None) -> None:
    with _changes:
        _open_connections.pop(id(connection), None)


def _start_afresh() -> None:
    """In the child: leak the parent's connections on purpose, and begin with empty pools."""
    for connection in _open_connections.values():
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))  # never collected, not even at exit
    _open_connections.clear()
    _changes.release()
    for engine in list(_guarded):
        engine.dispose(close=False)


os.register_at_fork(before=_changes.acquire, after_in_parent=_changes.release, after_in_child=_start_afresh)
