"""Acting as another account of the machine, where that is possible."""

from __future__ import annotations

import os

from tests.components import absent
from tests.deployment.deployed import is_checkout_open


def unprivileged() -> str | None:
    """An account that may nothing, for `subprocess`; None where the present one is no better."""
    if os.geteuid() != 0:
        return None
    if not is_checkout_open():
        absent("another account must be able to read the checkout")
    return "nobody"
