"""Accounts and what belongs to them: passwords, tokens, throttled logins, the audit log."""
