"""`run_settler`: from a settlement in Kafka to a settled hold in Redis, and the expiry of holds."""
