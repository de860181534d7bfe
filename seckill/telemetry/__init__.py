"""What workers report while they work: heartbeats, history, lag, traces."""
