"""Blocks: opaque objects below owned prefixes, with quota, conditions and events, in the node's database.

=======================  ==============================================================
:mod:`.tables`           the tables
:mod:`.names`            grammar of prefixes and paths, and tags
:mod:`.conditions`       If-Match and If-None-Match
:mod:`.quota`            who may store how much: the rule
:mod:`.rows`             rows as values
:mod:`.prefixes`         accounts, prefixes, and the turn to change something
:mod:`.changes`          uploads and removals, each one transaction
:mod:`.reservations`     room kept for uploads under way
:mod:`.contents`         contents that objects name
:mod:`.sweeping`         removing what nothing names any more
:mod:`.holding`          keeping it for a while all the same
:mod:`.recounting`       counters against objects
:mod:`.events`           what happened, in order
:mod:`.listing`          pages of objects and folders
:mod:`.traffic`          bytes read
:mod:`.importing`        taking over a Qabel block server, with :mod:`.ancestor` and :mod:`.ancestor_objects`
=======================  ==============================================================

Every function takes the connection of a transaction; :mod:`meteorpi_db.connections` repeats those that others
overtook.
"""
