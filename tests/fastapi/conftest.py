"""Databases filled with the tables of a module."""

from tests.suite.conftest import bank

__all__ = ["bank"]
