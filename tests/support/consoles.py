"""Consoles into memory, what they show, and what there is to show."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console

from asyncrep import Missing
from tests.support.scenario import item, key

if TYPE_CHECKING:
    from asyncrep import Discrepancy

HOSTILE = "\x1b[2J\x9b1A\n\r\u202e\x07\x00"
"""Text that would steer a terminal."""


def console(width: int = 80, *, terminal: bool = True) -> Console:
    """A console into memory; without colours, so that its text is what stands there."""
    return Console(
        file=io.StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )


def shown(console: Console) -> str:
    """All that a console has shown."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def flat(text: str) -> str:
    """Text with line breaks and runs of spaces made one space."""
    return " ".join(text.split())


def image(**attributes: Any) -> bytes:
    """The image of an item."""
    return msgspec.json.encode(item(**attributes))


def missing(id: str, **options: Any) -> Discrepancy:
    """A missing record."""
    return Missing(key=key(id), primary=image(id=id), **options)
