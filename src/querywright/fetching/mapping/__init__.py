"""What SQLAlchemy's mappings and statements say: attributes, FROMs, orders, and what keys prove of rows."""
