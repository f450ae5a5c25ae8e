"""Exceptions that a signal handler raised while code of ours ran: a limit of time that a task queue sets, for one.

Where any exception means that a value is uncommon, or wrong, these mean neither, and must pass.
"""

from __future__ import annotations

from types import FrameType

__all__ = ["is_interrupt"]


def is_interrupt(error: BaseException) -> bool:
    """Whether a signal handler raised it. To be asked where it is caught."""
    trace = error.__traceback__ and error.__traceback__.tb_next
    while trace is not None:
        if _is_handler(trace.tb_frame):
            return True
        trace = trace.tb_next
    return False


def _is_handler(frame: FrameType) -> bool:
    """Whether a function was given the frame that it interrupted, as Python gives it to signal handlers only."""
    caller, code = frame.f_back, frame.f_code
    # Its arguments are two: the local variables of other functions need not be made a dict.
    if code.co_argcount < 2 and not code.co_flags & _VARARGS:
        return False
    for value in frame.f_locals.values():
        if value is caller or (type(value) is tuple and any(each is caller for each in value)):
            return True
    return False


_VARARGS = 4
"""`inspect.CO_VARARGS`"""
