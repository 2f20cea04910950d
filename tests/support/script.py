"""The script of a test: which calls meet with what fault, and what happens around which calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tests.support.values import ServiceError, canceled

if TYPE_CHECKING:
    from collections.abc import Callable

BATCHES = ("BatchGetItem", "BatchWriteItem")


class Call(NamedTuple):
    """A request as it came in; `table` is the first one named, "" for operations that name none."""

    operation: str
    table: str
    region: str
    body: dict[str, Any]

    @property
    def tables(self) -> list[str]:
        """Every table the request names."""
        if "TransactItems" in self.body:
            return tables_of(self.body["TransactItems"])
        return list(self.body["RequestItems"]) if "RequestItems" in self.body else [self.table]


def tables_of(actions: list[dict[str, Any]]) -> list[str]:
    """The tables that the actions of a transaction name, in order."""
    return [each["TableName"] for action in actions for each in action.values()]


@dataclass(frozen=True)
class Refuse:
    """Answer with an error, after carrying the operation out when it `landed`."""

    error: ServiceError
    landed: bool


@dataclass(frozen=True)
class LeaveOut:
    """Leave this many (a float: this share) of a batch's entries unprocessed."""

    amount: float


@dataclass(frozen=True)
class Drop:
    """Give no answer and reset the connection or close it `orderly`, after the operation when it `landed`."""

    landed: bool
    orderly: bool = False


@dataclass(frozen=True)
class Corrupt:
    """Flip one bit of the body, so that its checksum is wrong."""


@dataclass(frozen=True)
class Cut:
    """Send half of the body and close."""


Fault = Refuse | LeaveOut | Drop | Corrupt | Cut


@dataclass
class Selector:
    """The calls a part of the script is about.

    Attributes:
        times: how many matching calls it takes, None for every one.
        after: how many matching calls pass by first.
        seen: matching calls so far, `fired`: those it took.
    """

    operation: str
    table: str | None = None
    region: str | None = None
    times: int | None = 1
    after: int = 0
    when: Callable[[dict[str, Any]], bool] | None = None
    seen: int = 0
    fired: int = 0

    def forever(self) -> Self:
        """Take every matching call from now on."""
        self.times = None
        return self

    def notice(self, call: Call) -> bool:
        """Count the call if it matches and tell whether it is one to take."""
        if not self._matches(call):
            return False
        self.seen += 1
        return self.seen > self.after and (self.times is None or self.fired < self.times)

    def _matches(self, call: Call) -> bool:
        return (
            self.operation == call.operation
            and self.table in (None, *call.tables)
            and self.region in (None, call.region)
            and (self.when is None or self.when(call.body))
        )


@dataclass
class Hook(Selector):
    """A callback that runs before or after the calls it takes."""

    run: Callable[[], object] = field(kw_only=True)


@dataclass
class Statement(Selector):
    """What becomes of the calls it takes: one fault, and a delay before it if wanted.

    It reads as `endpoint.on("Scan", times=2).throttle()`. Until a fault is stated nothing happens.
    """

    fault: Fault | None = None
    wait: float = 0.0

    @property
    def lands(self) -> bool:
        """Whether the operation is carried out in spite of the fault."""
        return self.fault.landed if isinstance(self.fault, Refuse | Drop) else True

    def throttle(self) -> Self:
        """Refuse with ProvisionedThroughputExceededException."""
        return self.error(
            "ProvisionedThroughputExceededException",
            message="Throughput exceeds the current limit",
        )

    def error(
        self, code: str, status: int = 400, *, message: str = "By the script", landed: bool = False
    ) -> Self:
        """Refuse with this error; with `landed` the operation is carried out all the same."""
        self.fault = Refuse(ServiceError(code, message, status), landed)
        return self

    def cancel(self, *codes: str, message: str = "By the script") -> Self:
        """Cancel a transaction for these reasons, action by action; "None" has nothing against one."""
        reasons = [{"Code": code} if code == "None" else {"Code": code, "Message": message} for code in codes]
        self.fault = Refuse(canceled(reasons), landed=False)
        return self

    def unprocessed(self, amount: float) -> Self:
        """Leave out that many keys or items of a batch: an int is a count, a float a share, rounded up."""
        if self.operation not in BATCHES:
            raise ValueError(f"{self.operation} has nothing to leave unprocessed")
        self.fault = LeaveOut(amount)
        return self

    def reset(self) -> Self:
        """Reset the connection; the operation is not carried out."""
        self.fault = Drop(landed=False)
        return self

    def land_then_reset(self) -> Self:
        """Carry the operation out, then reset the connection: the caller cannot know."""
        self.fault = Drop(landed=True)
        return self

    def hang_up(self, *, landed: bool = False) -> Self:
        """Close the connection in good order without an answer; clients tell this from a reset."""
        self.fault = Drop(landed, orderly=True)
        return self

    def corrupt(self) -> Self:
        """Flip one bit in an ASCII part of the answer; it stays JSON where it holds any text or number."""
        self.fault = Corrupt()
        return self

    def cut(self) -> Self:
        """Send only half of the bytes that Content-Length promises, then close."""
        self.fault = Cut()
        return self

    def delay(self, seconds: float) -> Self:
        """Wait before the operation is carried out; combines with any fault."""
        self.wait = seconds
        return self
