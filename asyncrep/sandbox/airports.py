"""Real airports, from the airportsdata package, as items in DynamoDB's wire form.

An item of the table `airports`, hash key `country`, range key `icao`:

    country       S     ISO 3166-1 alpha-2
    icao          S
    iata          S     absent when there is none
    name          S
    place         L     of S, widest first: subdivision, city; what is unknown is left out
    position      M     lat, lon: N, degrees
    elevation     N     feet above the sea
    below_sea     BOOL
    codes         SS    every code it is known by: ICAO, IATA, FAA location identifier
    local_code    S     the FAA location identifier, or NULL
    timezone      S     IANA name
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

from asyncrep.errors import UsageError
from asyncrep.sandbox.server import INSTALL_DEMO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airportsdata import Airport

Item: TypeAlias = dict[str, Any]

HASH_KEY = "country"
RANGE_KEY = "icao"
# moto needs about a millisecond to return one such item, so a table of these is read in four seconds.
DEFAULT_COUNT = 4_000


@dataclass(frozen=True, slots=True)
class Selection:
    """The airports of a table, and real ones that are not in it; each sorted by key, no key twice."""

    items: list[Item]
    others: list[Item]


def select(count: int = DEFAULT_COUNT) -> Selection:
    """Choose airports with an IATA code; those without one are the others.

    Args:
        count: how many, spread evenly over all there are (some 7,900).

    Raises:
        UsageError: there are not that many, or the extra `demo` is not installed.
    """
    try:
        import airportsdata  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UsageError(INSTALL_DEMO) from error
    airports = list(airportsdata.load("ICAO").values())
    served = _by_key(airport for airport in airports if airport["iata"])
    if not 0 <= count <= len(served):
        raise UsageError(f"There are {len(served):,} airports to choose from, not {count:,}.")
    return Selection(
        items=[_to_item(served[position * len(served) // count]) for position in range(count)],
        others=[_to_item(airport) for airport in _by_key(each for each in airports if not each["iata"])],
    )


def key_of(item: Item) -> tuple[str, str]:
    """The values of an item's hash and range key."""
    return item[HASH_KEY]["S"], item[RANGE_KEY]["S"]


def _by_key(airports: "Iterable[Airport]") -> "list[Airport]":
    return sorted(airports, key=lambda airport: (airport["country"], airport["icao"]))


def _to_item(airport: "Airport") -> Item:
    """Put one airport into wire form; an unknown text is an absent attribute, as real tables have it."""
    codes = {airport["icao"], airport["iata"], airport["lid"]} - {""}
    place = [airport["subd"], airport["city"]]
    item: Item = {
        "country": {"S": airport["country"]},
        "icao": {"S": airport["icao"]},
        "name": {"S": airport["name"]},
        "place": {"L": [{"S": part} for part in place if part]},
        "position": {"M": {"lat": _to_number(airport["lat"]), "lon": _to_number(airport["lon"])}},
        "elevation": _to_number(airport["elevation"]),
        "below_sea": {"BOOL": airport["elevation"] < 0},
        "codes": {"SS": sorted(codes)},
        "local_code": {"S": airport["lid"]} if airport["lid"] else {"NULL": True},
        "timezone": {"S": airport["tz"]},
    }
    if airport["iata"]:
        item["iata"] = {"S": airport["iata"]}
    return item


def _to_number(value: float) -> dict[str, str]:
    """Spell a number as DynamoDB returns it: no exponent, no zeros at the end."""
    text = f"{Decimal(repr(value)):f}"
    return {"N": text.rstrip("0").rstrip(".") if "." in text else text}
