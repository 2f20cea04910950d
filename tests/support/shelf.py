"""A storage in memory that keeps metadata, and what every object has held."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from asyncrep.errors import ConditionFailedError
from asyncrep.storage import Entry, ObjectHead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping


@dataclass(frozen=True)
class Kept:
    """What an object holds."""

    data: bytes
    metadata: Mapping[str, str]

    @property
    def etag(self) -> str:
        """The digest of its content, as S3's."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()


@dataclass
class Shelf:
    """Objects by name, and all that each has held, None where it was deleted. Every call gives way to others."""

    objects: dict[str, Kept] = field(default_factory=dict)
    history: dict[str, list[Kept | None]] = field(default_factory=dict)
    label: str = "shelf"

    def name_of(self, name: str) -> str:
        return f"{self.label}/{name}"

    async def check(self) -> None:
        await asyncio.sleep(0)

    async def entries(self, prefix: str = "", *, after: str = "") -> AsyncIterator[Entry]:
        for name in sorted(self.objects):
            await asyncio.sleep(0)
            if name.startswith(prefix) and name > after and name in self.objects:
                kept = self.objects[name]
                yield Entry(name, len(kept.data), kept.etag, 0.0)

    async def head(self, name: str) -> ObjectHead | None:
        await asyncio.sleep(0)
        kept = self.objects.get(name)
        return None if kept is None else ObjectHead(kept.etag, kept.metadata, len(kept.data))

    async def get(self, name: str) -> tuple[bytes, str] | None:
        await asyncio.sleep(0)
        kept = self.objects.get(name)
        return None if kept is None else (kept.data, kept.etag)

    async def put(
        self,
        name: str,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        await asyncio.sleep(0)
        if if_absent and name in self.objects:
            raise ConditionFailedError(f"{name} is there.")
        self._check(name, if_match)
        return self._keep(name, Kept(data, dict(metadata or {})))

    async def delete(self, name: str, *, if_match: str | None = None) -> None:
        await asyncio.sleep(0)
        self._check(name, if_match)
        self.objects.pop(name, None)
        self.history.setdefault(name, []).append(None)

    def _check(self, name: str, etag: str | None) -> None:
        if etag is not None and (name not in self.objects or self.objects[name].etag != etag):
            raise ConditionFailedError(f"{name} is another.")

    def _keep(self, name: str, kept: Kept) -> str:
        self.objects[name] = kept
        self.history.setdefault(name, []).append(kept)
        return kept.etag
