"""Sums that several processes of one node add to, and that each of them can read: see decision 26."""

from meteorpi_server.tallies.base import MemoryTally, Tally, key_of, lasts
from meteorpi_server.tallies.shared import SharedTally

__all__ = ["MemoryTally", "SharedTally", "Tally", "key_of", "lasts"]
