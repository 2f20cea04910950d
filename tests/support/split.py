"""Split tables for tests: opened on an engine, and read so that one sees which side answers."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asyncrep import Note, open_split_table
from tests.support.scenario import session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncrep import Event, SplitTable


@asynccontextmanager
async def split(places: tuple[str, str], url: str, **options: Any) -> AsyncIterator[SplitTable]:
    async with open_split_table(*places, session=session(), endpoint_url=url, **options) as table:
        yield table


def sides(items: list[dict[str, Any]]) -> set[str]:
    return {each["side"] for each in items}


class Told:
    """Notes what an observer is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def notice(self, event: Event) -> None:
        assert isinstance(event, Note)
        self.notes.append(event.message)
