"""`run_consumer`: from a message in Kafka to an outcome in Redis."""
