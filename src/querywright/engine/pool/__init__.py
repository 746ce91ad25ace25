"""Connections that are lent and come back as they were."""
