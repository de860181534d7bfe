"""The buyers' door: HTTP for buyers, without Django's request stack.

It steers nothing, recovers nothing and uses no model, as the contracts in pyproject.toml say.
"""
