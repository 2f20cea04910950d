"""Writes a few items of several tables at once, all of them or none, under conditions: TransactWriteItems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import msgspec
from msgspec import Raw

from asyncrep.aws.capacity import Consumed, Cost, Estimator
from asyncrep.aws.session import BODY
from asyncrep.errors import ConditionFailedError
from asyncrep.items.equality import without_system_attributes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncrep.aws.capacity import Budget
    from asyncrep.aws.client import WireClient
    from asyncrep.aws.guard import Expressions

_LARGEST_UNITS = 800.0  # what writing an item of 400 KB takes in a transaction
_NO_ITEM = Raw(b"null")


@dataclass(frozen=True, slots=True)
class Action:
    """One part of a transaction.

    Attributes:
        kind: what is done; a ConditionCheck only looks.
        table: the table's name or ARN, as requests name it.
        item: the image to put, or the canonical key of the item.
        expressions: its condition and update; None for neither.
    """

    kind: Literal["Put", "Delete", "Update", "ConditionCheck"]
    table: str
    item: bytes
    expressions: Expressions | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An action whose condition did not hold.

    Attributes:
        current: the image that is there; None when there is none.
    """

    current: bytes | None


@dataclass(frozen=True, slots=True)
class Transacted:
    """What became of a transaction.

    Attributes:
        applied: False when a condition did not hold; nothing was written then.
        refused: what did not hold, in the order of the actions; None where nothing is said against one.
        unsure: a condition did not hold, and maybe because of this very transaction: an earlier try of it
            got no answer.
    """

    applied: bool
    refused: Sequence[Refused | None] = ()
    unsure: bool = False


class _Answer(msgspec.Struct):
    ConsumedCapacity: list[Consumed] | None = None


class _Reason(msgspec.Struct):
    Code: str | None = None
    Item: Raw = _NO_ITEM


class _Refusal(msgspec.Struct):
    CancellationReasons: list[_Reason] = []


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_refusal = msgspec.json.Decoder(_Refusal).decode
_encode = msgspec.json.Encoder().encode


class Transactor:
    """Writes in transactions. It remembers what they cost, to estimate the next ones."""

    def __init__(self) -> None:
        self._per_action = Estimator(2.0)

    async def transact(self, client: WireClient, budget: Budget, actions: Sequence[Action]) -> Transacted:
        """Carry out all actions or none. A condition that does not hold is an answer, not an error.

        Every try carries one token, so that a try whose answer got lost is not carried out again for ten
        minutes and the next one is told that it has succeeded. Emulators may not know tokens: then it is
        refused by its own effect, which ``Transacted.unsure`` gives notice of.

        Raises:
            RejectedError: the service calls an action invalid.
            ServiceError: the call failed for good.
        """
        body = _encode({
            "TransactItems": [{action.kind: _members(action)} for action in actions],
            "ReturnConsumedCapacity": "TOTAL",
            "ClientRequestToken": str(uuid4()),
        })  # fmt: skip
        estimate = self._per_action.units * len(actions)
        cost = Cost(estimate, _LARGEST_UNITS * len(actions))
        try:
            answer = await client.call("TransactWriteItems", body, _decode_answer, budget, cost)
        except ConditionFailedError as error:
            return Transacted(applied=False, refused=_refused(error, actions), unsure=error.maybe_done)
        units = sum(consumed.CapacityUnits for consumed in answer.ConsumedCapacity or ())
        budget.charge("write", units, estimate)
        self._per_action.learn(units / len(actions))
        return Transacted(applied=True)


def _members(action: Action) -> dict[str, Any]:
    """Return the members of one action; the key or the image goes in as a raw slice."""
    members: dict[str, Any] = {} if action.expressions is None else action.expressions.members()
    if "ConditionExpression" in members:
        members["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if action.kind == "Put":
        keyed = {"Item": Raw(without_system_attributes(action.item))}
    else:
        keyed = {"Key": Raw(action.item)}
    return {"TableName": action.table, **keyed, **members}


def _refused(error: ConditionFailedError, actions: Sequence[Action]) -> list[Refused | None]:
    """Read the reasons out of the refusal's raw body: botocore would have decoded the items."""
    response = getattr(error.__cause__, "response", {})
    reasons = _decode_refusal(response.get(BODY, b"{}")).CancellationReasons
    if len(reasons) != len(actions):
        raise error  # which of the conditions did not hold cannot be told
    return [_refusal(reason) if reason.Code == "ConditionalCheckFailed" else None for reason in reasons]


def _refusal(reason: _Reason) -> Refused:
    image = bytes(reason.Item)
    return Refused(None if image in {b"null", b"{}"} else image)
