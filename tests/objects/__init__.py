"""Whole objects, fields and search, on a real server."""
