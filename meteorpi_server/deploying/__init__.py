"""Releases side by side, by commit: built, migrated to, switched to, and gone back from."""
