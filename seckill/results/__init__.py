"""Results: what became of single requests, for programs that produce to Kafka themselves."""
