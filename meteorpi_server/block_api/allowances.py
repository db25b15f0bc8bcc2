"""How much may be read of an account in a month, and what happens beyond that.

Source: K-205, K-221 and K-222 of the storage contract.
"""

from __future__ import annotations

import logging

from meteorpi_model.errors import MeteorError, TrafficReachedError
from meteorpi_server.block_accounts import AccountSource
from meteorpi_server.block_api.current import current_caller
from meteorpi_server.block_api.slow_reading import SlowReading
from meteorpi_server.block_api.traffic import TrafficMeter

logger = logging.getLogger("meteorpi.block.traffic")


class Allowances:
    """Decides whether what an account offers may be read on.

    Args:
        accounts: knows what each may offer.
        traffic: knows what was read.
        slow_reading: what is offered beyond that.
    """

    def __init__(self, accounts: AccountSource, traffic: TrafficMeter, slow_reading: SlowReading) -> None:
        self._accounts = accounts
        self._traffic = traffic
        self._slow_reading = slow_reading
        self._is_in_the_dark = False

    def is_slow(self, account_id: str) -> bool:
        """Whether an account is read slowly from now on; not when nobody can tell what may be read.

        Raises:
            TrafficReachedError: more was read this month than it may offer, and reading on is not offered.
        """
        allowed = self._allowed(account_id)
        sent = self._traffic.sent_by(account_id)
        is_beyond = allowed is not None and sent > allowed
        if is_beyond and not self._slow_reading.is_offered:
            raise TrafficReachedError("Quota reached", quota=allowed, size=sent)
        return is_beyond

    def _allowed(self, account_id: str) -> int | None:
        """Bytes that may be read in a month; None when nobody can tell now."""
        source, _, name = account_id.partition(":")
        if source != self._accounts.name:
            return None
        try:
            limits = self._accounts.limits_of(name, current_caller())
        except MeteorError as error:
            if not self._is_in_the_dark:
                logger.warning("reads go on without knowing what may be read reason=%s", error)
            self._is_in_the_dark = True
            return None
        self._is_in_the_dark = False
        return limits.monthly_traffic_bytes
