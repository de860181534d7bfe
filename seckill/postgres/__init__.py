"""PostgreSQL: connections, what its errors mean, which Redis leads the lane, what is sold."""
