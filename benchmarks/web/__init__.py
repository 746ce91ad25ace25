"""The same endpoints twice over HTTP: as FastAPI's documentation teaches, and with Querywright."""
