"""Read from the code of path operations and dependencies what they call and yield."""
