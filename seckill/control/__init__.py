"""Acts of operators: checked, journalled, carried out by one script each."""
