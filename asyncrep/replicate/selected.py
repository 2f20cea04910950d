"""A source that shows what is selected of another one, and as it is to look at the destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Raw

from asyncrep.change import Change, ChangeKind
from asyncrep.model import Page
from asyncrep.mutation import ItemState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from asyncrep.flow.purse import Account
    from asyncrep.model import Meter, Segment, Source, TableSettings
    from asyncrep.options import Limits
    from asyncrep.replicate.selection import Selection


class SelectedSource:
    """Shows what is selected of a source; a ``Source`` itself, so that what copies tables copies this."""

    def __init__(self, source: Source, selection: Selection) -> None:
        self._source = source
        self._selection = selection

    @property
    def label(self) -> str:
        """How people call the source."""
        return self._source.label

    @property
    def settings(self) -> TableSettings:
        """The source's description."""
        return self._source.settings

    @property
    def meter(self) -> Meter:
        """What was consumed of the source."""
        return self._source.meter

    def is_same_as(self, other: Source) -> bool:
        """Tell whether the source is the very same place as another."""
        return self._source.is_same_as(other)

    def limited(self, limits: Limits, account: Account | None = None) -> SelectedSource:
        """Return the same for one run."""
        return SelectedSource(self._source.limited(limits, account), self._selection)

    def key(self, image: Raw | bytes) -> bytes:
        """Return the canonical key of an image; keys are never changed."""
        return self._source.key(image)

    async def pages(
        self, segment: Segment, *, keys_only: bool = False, after: bytes | None = None
    ) -> AsyncIterator[Page]:
        """Yield every page of one segment, possibly without an image."""
        async for page in self._source.pages(segment, keys_only=keys_only, after=after):
            shown = [self._shown(image) for image in page.images]
            yield Page(page.segment, [image for image in shown if image is not None], page.last)

    async def get(
        self, keys: Sequence[bytes], *, consistent: bool, keys_only: bool = False
    ) -> dict[bytes, Raw]:
        """Return the images of those of the keys that exist and are selected."""
        found = await self._source.get(keys, consistent=consistent, keys_only=keys_only)
        shown = {key: self._shown(image) for key, image in found.items()}
        return {key: image for key, image in shown.items() if image is not None}

    def _shown(self, image: Raw) -> Raw | None:
        change = Change(key=self.key(image), kind=ChangeKind.INSERT, sequence=0, new=bytes(image))
        state = self._selection.wanted(change)
        return Raw(state.image) if isinstance(state, ItemState) and state.image is not None else None
