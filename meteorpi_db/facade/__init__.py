"""The published methods of `MeteorDatabase`, in groups; each opens a transaction over the record modules."""
