"""How a process starts, logs, prints and stops. Knows nothing about a sale."""
