"""What can never succeed: bad requests in a topic, accepted records that cannot become rows."""
