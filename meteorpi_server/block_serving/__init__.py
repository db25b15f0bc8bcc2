"""A block server that takes the place of the Qabel block server: its options, and its application."""
