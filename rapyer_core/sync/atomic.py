"""AtomicRedisModel (blocking): the same mapping as ``@redis_model``, with methods on the object."""

from __future__ import annotations


class AtomicRedisModel:
    """To be written."""
