"""Read, and administer, a node over HTTP."""
