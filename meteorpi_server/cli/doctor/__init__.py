"""``meteorpi doctor``: what is wrong with this node and its deployment, and how to mend it."""
