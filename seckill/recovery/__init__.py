"""After a loss: the plan, the lane rebuilt from PostgreSQL and the topic."""
