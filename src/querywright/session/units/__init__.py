"""Units of work that are run again where that is safe, and once for each key."""
