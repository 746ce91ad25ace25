"""Print the versions that a test run is about."""

import platform
from importlib.metadata import version

PACKAGES = ("sqlalchemy", "pydantic", "fastapi", "asyncpg", "psycopg", "aiosqlite")

if __name__ == "__main__":
    versions = " ".join(f"{name}={version(name)}" for name in PACKAGES)
    print(f"python={platform.python_version()} {versions}")
