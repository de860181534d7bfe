"""A whole sale on one machine (`make run`, `make demo`): start everything, show it, audit it."""
