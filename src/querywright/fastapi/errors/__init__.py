"""Errors as problem details (RFC 9457), and what no handler answers."""
