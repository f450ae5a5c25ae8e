"""Transports: the one seam to Redis. Nothing outside this package imports redis or hiredis.

A transport offers links; a link does one thing: ``roundtrip(commands) -> replies``. It never sends anything twice,
and a link whose replies were not all read is closed, never used again. Beside the links stands a listener, which
hears what is published on channels, on a connection of its own that is there only while somebody listens.
"""
