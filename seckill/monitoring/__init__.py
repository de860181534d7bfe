"""What monitoring shows: metrics, the status table, readiness."""
