"""The configuration: what can be set, and where a value comes from. Reads nothing at import."""
