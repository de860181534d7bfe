"""The door's own documentation: its OpenAPI document, and the page that shows it."""
