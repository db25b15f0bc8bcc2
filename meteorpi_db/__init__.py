"""What a node remembers, and passes on: records, file store, export."""
