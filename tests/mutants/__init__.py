"""Mutations: small changes to the code, one at a time, each of which a test has to notice.

`make mutants` runs a random choice of them (`__main__`). Owned by no test run: it takes too long.
"""
