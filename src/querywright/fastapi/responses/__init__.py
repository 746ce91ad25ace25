"""JSON as it is, entity tags, and what is no response."""
