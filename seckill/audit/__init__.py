"""The proof: compares the promises with the data in Redis, PostgreSQL and Kafka."""
