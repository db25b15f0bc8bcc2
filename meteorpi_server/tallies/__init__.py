"""Sums that several processes of one node add to, and that each of them can read: see decision 26."""

from meteorpi_server.tallies.base import MemoryTally, Tally, key_of, lasts, parts_of
from meteorpi_server.tallies.choosing import tally_of_node
from meteorpi_server.tallies.shared import SharedTally

__all__ = ["MemoryTally", "SharedTally", "Tally", "key_of", "lasts", "parts_of", "tally_of_node"]
