"""The command ``meteorpi``: everything a person or a script does with a node outside of Python.

A module for each group of commands. They parse, call one thing and print; only they print at all.
"""

from meteorpi_server.cli.entry import main

__all__ = ["main"]
