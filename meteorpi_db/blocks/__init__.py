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
:mod:`.uploads`          rows of uploads of several requests; :mod:`.upload_locks`: who is at work on one
:mod:`.resuming`         uploads that go on after a break, with :mod:`.gathering`
:mod:`.direct`           uploads that go to the object store itself
:mod:`.leaving`          removing a prefix with everything below it
:mod:`.contents`         contents that objects name
:mod:`.sweeping`         removing what nothing names any more
:mod:`.holding`          keeping it for a while all the same
:mod:`.recounting`       counters against objects
:mod:`.events`           what happened, in order; :mod:`.event_log` and :mod:`.notifying`: for listeners
:mod:`.listing`          pages of objects and folders
:mod:`.traffic`          bytes read
:mod:`.links`            how often a link may still be used
:mod:`.tokens`           secrets that stand for an account
:mod:`.directory`        the users of the node as accounts
:mod:`.numbers`          accounts as other servers know them
:mod:`.totals`           what a node holds, for metrics
:mod:`.register`         all this for whoever serves it, :mod:`.administration` for whoever runs the node
:mod:`.importing`        taking over a Qabel block server, with :mod:`.ancestor` and :mod:`.ancestor_objects`
=======================  ==============================================================

Functions take the connection of a transaction; :mod:`meteorpi_db.connections` repeats those that others
overtook. Classes make the transactions themselves.
"""
