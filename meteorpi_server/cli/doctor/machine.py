"""The machine: interpreter, extras, account, clock."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from meteorpi_server.cli.doctor.finding import Finding
from meteorpi_server.cli.output import time_text

EXTRAS: Final = {
    "firebird": ("fdb", "Firebird databases"),
    "postgresql": ("psycopg", "PostgreSQL databases"),
    "images": ("PIL", "thumbnails and picture times"),
    "pandas": ("pandas", "tables of results in Python"),
    "fastcgi": ("flup", "FastCGI"),
}
"""Each extra, the module that shows whether it is installed, and what it is for."""

_BUILT: Final = datetime(2024, 1, 1)  # a clock before this has never been set
_STA_UNSYNC: Final = 0x0040
_TIME_ERROR: Final = 5


def check_python() -> Iterator[Finding]:
    """The interpreter that runs this."""
    yield Finding("ok", "python", f"{sys.version.split()[0]} at {sys.executable}")


def check_account() -> Iterator[Finding]:
    """As whom permissions are tried: they mean nothing for another account than that of the services."""
    user_id = os.geteuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = str(user_id)
    if user_id == 0:
        remedy = "to try what the services may do, run it as their account: sudo -u meteorpi meteorpi doctor"
        yield Finding("note", "account", "root, who may do everything", remedy)
    else:
        yield Finding("ok", "account", name)


def check_extras() -> Iterator[Finding]:
    """What is installed beside the core."""
    for extra, (module, purpose) in EXTRAS.items():
        if importlib.util.find_spec(module) is None:
            remedy = f"only if you want {purpose}: pip install 'meteorpi[{extra}]'"
            yield Finding("note", f"extra {extra}", "not installed", remedy)
        else:
            yield Finding("ok", f"extra {extra}", "installed")


def check_clock(time: datetime) -> Iterator[Finding]:
    """Whether the clock was ever set; small computers without battery begin in 1970."""
    if time < _BUILT:
        remedy = "set it, and let NTP keep it: timedatectl set-ntp 1"
        yield Finding("error", "clock", f"says {time_text(time)}", remedy)
    else:
        yield Finding("ok", "clock", f"says {time_text(time)} UTC")


def check_synchronisation(is_synchronised: Callable[[], bool | None]) -> Iterator[Finding]:
    """Whether something keeps the clock right; meteors are matched between stations by their times."""
    answer = is_synchronised()
    if answer is None:
        yield Finding("note", "time keeping", "this system does not tell whether the clock is kept right")
    elif answer:
        yield Finding("ok", "time keeping", "the clock is synchronised")
    else:
        yield Finding(
            "warning",
            "time keeping",
            "nothing keeps the clock right; it drifts by seconds a week",
            "apt install systemd-timesyncd, then timedatectl set-ntp true; or chrony with a GPS receiver. "
            "In a container this is up to the host",
        )


def is_clock_synchronised() -> bool | None:
    """What the kernel says about its clock; None where it cannot be asked.

    Source:
        adjtimex(2): ``STA_UNSYNC`` is cleared by whoever disciplines the clock, be it timesyncd, chrony or
        ntpd, so no service has to be asked by name.
    """

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),
        )

    adjust = getattr(ctypes.CDLL(None), "adjtimex", None)
    if adjust is None:
        return None
    state = Timex()  # no modes: nothing is changed
    result = int(adjust(ctypes.byref(state)))
    if result < 0:
        return None
    return result != _TIME_ERROR and not state.status & _STA_UNSYNC
