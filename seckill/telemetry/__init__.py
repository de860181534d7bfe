"""What workers say while they work: heartbeats, history, lag, traces."""
