"""The buyers' page, as files that the door serves."""
