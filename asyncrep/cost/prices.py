"""What a request unit and a gigabyte cost in each Region: the table that comes along, and a user's own."""

from __future__ import annotations

import datetime
import math
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

PRICES_VARIABLE = "ASYNCREP_PRICES"
HOME_REGION = "us-east-1"
"""The Region whose prices stand in for those that are not known."""

_VALUES = ("read", "write", "infrequent-read", "infrequent-write", "transfer")
_MEMBERS = frozenset({"as_of", "regions"})


@dataclass(frozen=True, slots=True)
class Rates:
    """What one table's requests and bytes cost, in USD.

    Attributes:
        read: per million read request units.
        write: per million write request units.
        transfer: per GB (10^9 bytes) that is sent to another Region.
        assumed: which of them are us-east-1's, because the Region's own are not known.
    """

    region: str
    read: float
    write: float
    transfer: float
    assumed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prices:
    """A table of prices.

    Attributes:
        as_of: the day the prices were looked up.
        regions: Region to value to USD; a Region may lack values.
        overridden_by: the file whose values count before those that come along, None without one.
    """

    as_of: datetime.date
    regions: Mapping[str, Mapping[str, float]]
    overridden_by: str | None = None

    def rates(
        self, region: str, table_class: Literal["STANDARD", "STANDARD_INFREQUENT_ACCESS"] = "STANDARD"
    ) -> Rates:
        """Return what a table of that class costs in a Region; us-east-1's prices stand in for unknown ones."""
        prefix = "" if table_class == "STANDARD" else "infrequent-"
        known = self.regions.get(region, {})
        home = self.regions[HOME_REGION]
        needed = {"read": f"{prefix}read", "write": f"{prefix}write", "transfer": "transfer"}
        values = {name: known.get(value, home[value]) for name, value in needed.items()}
        assumed = tuple(name for name, value in needed.items() if value not in known)
        return Rates(region, values["read"], values["write"], values["transfer"], assumed)


def load_prices(path: Path | None = None, *, environment: Mapping[str, str] = os.environ) -> Prices:
    """Return the prices that come along, with the values of a user's own file in their place.

    Args:
        path: the file; without one, that of the variable ASYNCREP_PRICES, if it is set.
        environment: where the variable may be.

    Raises:
        UsageError: the file cannot be read, or holds something else than prices.
    """
    own = _packaged()
    if path is None and environment.get(PRICES_VARIABLE):
        path = Path(environment[PRICES_VARIABLE])
    if path is None:
        return own
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(f"The prices in {path} cannot be read: {error}") from error
    theirs = _parsed(text, str(path), as_of=own.as_of)
    names = {**own.regions, **theirs.regions}
    merged = {name: {**own.regions.get(name, {}), **theirs.regions.get(name, {})} for name in names}
    return Prices(theirs.as_of, merged, overridden_by=str(path))


@cache
def _packaged() -> Prices:
    return _parsed(files("asyncrep.cost").joinpath("prices.toml").read_text(encoding="utf-8"), "prices.toml")


def _parsed(text: str, where: str, as_of: datetime.date | None = None) -> Prices:
    """Read a table of prices; ``as_of`` counts where the table does not say it itself."""
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except ValueError as error:
        raise UsageError(f"The prices in {where} cannot be read: {error}") from error
    _refuse_unknown(content, _MEMBERS, where)
    day = content.get("as_of", as_of)
    if not isinstance(day, datetime.date) or isinstance(day, datetime.datetime):
        raise UsageError(f"{where}: as_of must be a date without quotes, as in 2026-01-31.")
    regions = content.get("regions", {})
    if not isinstance(regions, dict):
        raise UsageError(f"{where}: prices are written as [regions.REGION].")
    return Prices(
        day, {name: _region(values, f"{where}, regions.{name}") for name, values in regions.items()}
    )


def _region(values: Any, where: str) -> dict[str, float]:
    if not isinstance(values, dict):
        raise UsageError(f"{where}: prices are written as [regions.REGION].")
    _refuse_unknown(values, frozenset(_VALUES), where)
    return {name: _price(value, f"{where}, {name}") for name, value in values.items()}


def _price(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where}: a price is a number of USD.")
    if value < 0:
        raise UsageError(f"{where}: a price cannot be negative, as {value} is.")
    return float(value)


def _refuse_unknown(content: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in content:
        if name not in known:
            raise UsageError(f'{where}: "{name}" is unknown; known are {", ".join(sorted(known))}.')
