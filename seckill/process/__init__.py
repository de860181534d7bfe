"""How a process starts, speaks and stops. Knows nothing of a sale."""
