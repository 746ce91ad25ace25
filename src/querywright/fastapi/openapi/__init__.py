"""What OpenAPI says of errors and of fields that may be left out."""
