"""The proof: what is promised, compared with what stands in Redis, PostgreSQL and Kafka."""
