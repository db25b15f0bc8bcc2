"""A database as a web application: the routes of a node, and how to serve them."""
