"""Asks again, right before anything is sent, whether it may still be: a process can stand still at any moment.

Who is stopped, or starved, for longer than a lease lasts goes on in the middle of its writes. What it would
send then is old, and others have written something newer meanwhile.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_check: ContextVar[Callable[[], None] | None] = ContextVar("_check", default=None)


@contextmanager
def permitted_by(check: Callable[[], None]) -> Iterator[None]:
    """Have everything that is sent within the block, also by tasks that it starts, call ``check`` first.

    What ``check`` raises keeps it from being sent.
    """
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)


def check_permitted() -> None:
    """Raise what keeps this task from sending anything, if anything does."""
    check = _check.get()
    if check is not None:
        check()
