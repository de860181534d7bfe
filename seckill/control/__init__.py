"""Acts of operators: each is checked, written to the journal and carried out by one script."""
