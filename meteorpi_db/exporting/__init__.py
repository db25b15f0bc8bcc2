"""What export consists of: configurations, tasks, leases, and the conversation with a peer."""
