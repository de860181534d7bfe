"""What outsiders send and read: requests, records, outcomes. Knows no service."""
