"""How a transaction runs and ends: options, nesting, COMMIT and what became of it, hooks."""
