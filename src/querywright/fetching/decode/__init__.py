"""Read what the database has written: find broken rows, finish single values, turn JSON into what models validate."""
