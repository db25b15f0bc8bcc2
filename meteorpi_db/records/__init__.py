"""Kinds of record: each module reads and writes one, on a connection that the caller gives."""
