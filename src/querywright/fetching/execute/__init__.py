"""Run a fetch: keep what was compiled, call the driver, and read level by level where one statement is too much."""
