"""The doors: admin, API, and the server that holds them."""
