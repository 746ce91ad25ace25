"""What OpenAPI says of an application, held against what it answers, by tools that others maintain."""
