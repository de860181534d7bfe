"""The same crowds as clicks over HTTP at a buyers' door."""
