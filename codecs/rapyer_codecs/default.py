"""The default registry and the functions that work on it. A convenience: everything takes a registry of its
own too.
"""

from __future__ import annotations

from .registry import Registry
from .types import register_all

__all__ = ["default_registry", "register_codec"]

default_registry = Registry()
"""Knows every family of types; what `register_codec` adds counts here and in its children."""

register_all(default_registry)

register_codec = default_registry.register
