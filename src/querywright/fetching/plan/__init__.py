"""Compare a response model with a mapped class: from both to a tree of frozen nodes, or to an error with a path."""
