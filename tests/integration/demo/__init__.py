"""A whole sale by `run_sale`."""
