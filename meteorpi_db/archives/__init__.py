"""What a node remembers of archives: who may ask for them, the links that were given out, and the queue."""
