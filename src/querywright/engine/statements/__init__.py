"""What statements do: what they leave behind, how long they take, what ends a transaction."""
