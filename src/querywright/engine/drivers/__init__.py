"""The connections of each driver: with bounded calls, and what they say of their own state."""
