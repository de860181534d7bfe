"""After a loss: makes the plan, and rebuilds the lane from PostgreSQL and the topic."""
