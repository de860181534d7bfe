"""What is wrong with the configuration, for a person."""


class ConfigError(Exception):
    """A value or a key is wrong. The message is one line for a person: where, what, allowed."""
