"""Transports: the one seam to Redis. Nothing outside this package imports redis or hiredis.

A transport offers links; a link does one thing: ``roundtrip(commands) -> replies``. It never sends anything twice,
and a link whose replies were not all read is closed, never used again.
"""
