"""Makes a replica that has drifted from its primary, the same way every time; pure.

Drift is what a diff must find: items that are missing, different (the replica holds an older version) or
extraneous. What a diff must not report is there too: sets in another order, numbers spelt otherwise.
(DynamoDB spells numbers its own way when it returns them; moto, and files that others wrote, do not.)
"""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from decimal import Decimal
from itertools import cycle
from typing import TypeAlias

from asyncrep.errors import UsageError
from asyncrep.sandbox.airports import HASH_KEY, RANGE_KEY, Item

Change: TypeAlias = Callable[[Item], bool]

MISSING = 15
DIFFERENT = 12
EXTRANEOUS = 7
RESPELLED = 40
# Every kind of change must find enough items it fits, whichever airports were chosen.
FEWEST_ITEMS = 200


@dataclass(frozen=True, slots=True)
class Drift:
    """What the replica holds, and in how many items it disagrees with the primary.

    The `respelled` items are equal to the primary's by value and are no discrepancies.
    """

    missing: int
    different: int
    extraneous: int
    respelled: int
    replica_items: list[Item]
    example_key: str
    """The key of one of the different items, as a user would type it."""


def drift(primary_items: Sequence[Item], others: Sequence[Item], seed: int = 1914) -> Drift:
    """Derive the replica's items; the primary's are not changed.

    Args:
        primary_items: items of the airports table.
        others: items whose keys the primary lacks; the extraneous ones are taken from these.
        seed: which items are struck; 1914 is the year of the first scheduled airline flight.

    Raises:
        UsageError: there are too few items to strike.
    """
    if len(primary_items) < FEWEST_ITEMS:
        raise UsageError(f"The sample needs at least {FEWEST_ITEMS} airports, not {len(primary_items)}.")
    chance = random.Random(seed)
    # One shuffled deck, dealt out: no item is struck twice.
    deck = chance.sample(range(len(primary_items)), len(primary_items))
    missing, deck = deck[:MISSING], deck[MISSING:]
    replica = dict(enumerate(primary_items))
    changed_at: list[int] = []
    for position in missing:
        del replica[position]
    for changes, count in ((OLDER_VERSIONS, DIFFERENT), (RESPELLINGS, RESPELLED)):
        for _, change in zip(range(count), cycle(changes), strict=False):
            position, changed = next(_changed(primary_items, deck, change))
            replica[position] = changed
            changed_at.append(position)
            deck.remove(position)
    extraneous = chance.sample(list(others), EXTRANEOUS)
    example = primary_items[changed_at[0]]  # the older versions were dealt first
    key = json.dumps({name: example[name]["S"] for name in (HASH_KEY, RANGE_KEY)})
    return Drift(MISSING, DIFFERENT, EXTRANEOUS, RESPELLED, [*replica.values(), *extraneous], key)


def _changed(items: Sequence[Item], deck: list[int], change: Change) -> Iterator[tuple[int, Item]]:
    """The items a change fits, changed, with their positions."""
    for position in deck:
        copy = deepcopy(items[position])
        if change(copy):
            yield position, copy


def _resurveyed(item: Item) -> bool:
    item["elevation"]["N"] = str(Decimal(item["elevation"]["N"]) - 3)
    return True


def _not_yet_international(item: Item) -> bool:
    name: str = item["name"]["S"]
    item["name"]["S"] = name.replace(" International", "")
    return " International" in name


def _without_timezone(item: Item) -> bool:
    del item["timezone"]
    return True


def _roughly_placed(item: Item) -> bool:
    """A longitude of two decimals, as older surveys give it."""
    longitude = item["position"]["M"]["lon"]
    exact, longitude["N"] = longitude["N"], f"{Decimal(longitude['N']):.2f}"
    return Decimal(exact) != Decimal(longitude["N"])


def _without_iata_code(item: Item) -> bool:
    item["codes"]["SS"].remove(item["iata"]["S"])
    return bool(item["codes"]["SS"])


def _without_city(item: Item) -> bool:
    place = item["place"]["L"]
    return bool(place) and bool(place.pop())


def _decimal_point(item: Item) -> bool:
    """433 as 433.0."""
    elevation = item["elevation"]
    whole = "." not in elevation["N"]
    elevation["N"] += ".0"
    return whole


def _exponent(item: Item) -> bool:
    """433 as 4.33E+2."""
    elevation = item["elevation"]
    written = elevation["N"]
    elevation["N"] = f"{Decimal(written):E}"
    return bool(elevation["N"] != written)


def _padded_latitude(item: Item) -> bool:
    """50.03 as 50.0300, inside a map."""
    latitude = item["position"]["M"]["lat"]
    fraction = "." in latitude["N"]
    latitude["N"] += "00"
    return fraction


def _reversed_codes(item: Item) -> bool:
    item["codes"]["SS"].reverse()
    return len(item["codes"]["SS"]) > 1


# Each changes its item in place and says whether that made what its name says.
OLDER_VERSIONS: tuple[Change, ...] = (
    _resurveyed,
    _not_yet_international,
    _without_timezone,
    _roughly_placed,
    _without_iata_code,
    _without_city,
)
RESPELLINGS: tuple[Change, ...] = (_decimal_point, _exponent, _padded_latitude, _reversed_codes)
