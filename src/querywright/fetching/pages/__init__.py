"""Read pages: cursors, what may stand in them, and the rows that they begin behind."""
