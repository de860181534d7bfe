"""What onlookers are shown: metrics, the status table, readiness."""
