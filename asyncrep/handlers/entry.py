"""Names for the handler of a Lambda function: ``asyncrep.handlers.entry.replicate``, ``….backup``, ``….segment``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncrep.handlers.backup import backup_handler
from asyncrep.handlers.replicate import replicate_handler
from asyncrep.handlers.segment import segment_handler

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.handlers.runtime import Handler

_MAKERS: dict[str, Callable[[], Handler]] = {
    "replicate": replicate_handler,
    "backup": backup_handler,
    "segment": segment_handler,
}


def __getattr__(name: str) -> Handler:
    """Make a handler when Lambda asks for it, at the cold start: only its own settings have to be right."""
    maker = _MAKERS.get(name)
    if maker is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    handler = globals()[name] = maker()
    return handler
