"""`run_log_worker`: from a record in Redis to a row in PostgreSQL."""
