"""Look at statements: how long they take, what a pooler would hand on, what ends a transaction."""
