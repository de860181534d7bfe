"""A whole sale on one machine: `make run` and `make demo`. Starts everything, shows it, audits
it.
"""
