"""A storage in which something happens right before a call, or the answer to a call gets lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from asyncrep.errors import ConditionFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asyncrep.storage import Storage

_WATCHED = frozenset({"get", "head", "put", "delete"})


class Hooked:
    """Passes everything on to a real storage. What is scripted happens once, in order.

    Attributes:
        calls: how often each method was called.
        names: the objects that were asked for, in order, with the method.
        under_way: calls that are being answered; and the most that were at the same time.
    """

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.calls: Counter[str] = Counter()
        self.names: list[tuple[str, str]] = []
        self.under_way = self.most_under_way = 0
        self._hooks: dict[str, list[Callable[[], Awaitable[Any]]]] = {}
        self._lost: Counter[str] = Counter()

    def before(self, method: str, deed: Callable[[], Awaitable[Any]]) -> None:
        """Do something right before the next call of a method."""
        self._hooks.setdefault(method, []).append(deed)

    def lose(self, method: str) -> None:
        """Lose the answer to the next call of a method; tried again, its condition does not hold any more."""
        self._lost[method] += 1

    def __getattr__(self, method: str) -> Any:
        attribute = getattr(self.storage, method)
        if method not in _WATCHED:
            return attribute

        async def call(name: str, *arguments: Any, **options: Any) -> Any:
            self.calls[method] += 1
            self.names.append((method, name))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                if hooks := self._hooks.get(method):
                    await hooks.pop(0)()
                answer = await attribute(name, *arguments, **options)
            finally:
                self.under_way -= 1
            if self._lost[method]:
                self._lost[method] -= 1
                error = ConditionFailedError("It is there already.")
                error.maybe_done = True
                raise error
            return answer

        return call
