"""Which tables are meant: arguments first, then the environment, then asyncrep.toml."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asyncrep.aws.place import Place
from asyncrep.errors import UsageError
from asyncrep.location import TableRef

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncrep.cli.options import PlaceOptions

CONFIG_FILE = "asyncrep.toml"

_SIDE_KEYS = frozenset({"endpoint", "profile", "role-arn"})
_PAIR_KEYS = frozenset({"primary", "replica", "endpoint-url"}) | {
    f"{side}-{key}" for side in ("primary", "replica") for key in _SIDE_KEYS
}


def find_pair(
    primary: str | None,
    replica: str | None,
    options: PlaceOptions,
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> tuple[Place, Place]:
    """Return the two tables that a command is about.

    Args:
        primary: the argument, None when none was given.
        replica: the argument, None when none was given.
        options: endpoints, profiles, roles, and the name of a pair.
        environment: where ASYNCREP_PRIMARY and ASYNCREP_REPLICA may be.
        folder: where asyncrep.toml may be; the working directory by default.

    Raises:
        UsageError: no table or only one was named, or asyncrep.toml is not as it should be.
    """
    if (primary is None) != (replica is None):
        raise UsageError("Name both tables, PRIMARY and REPLICA, or neither.")
    configured: Mapping[str, str] = {}
    if primary is None:
        configured = _configured_pair(options.pair, folder or Path(), environment)
        primary = configured.get("primary")
        replica = configured.get("replica")
    elif options.pair is not None:
        raise UsageError(f"The tables are named twice: as arguments and by --pair {options.pair}.")
    if primary is None or replica is None:
        raise UsageError(
            "Which tables? Name PRIMARY and REPLICA as arguments, in ASYNCREP_PRIMARY and ASYNCREP_REPLICA, "
            f"or in {CONFIG_FILE}."
        )
    return _place("primary", primary, options, configured), _place("replica", replica, options, configured)


def find_places(
    tables: Sequence[str],
    options: PlaceOptions,
    *,
    beside: bool = False,
    environment: Mapping[str, str] = os.environ,
) -> tuple[Place, list[Place]]:
    """Return the source and the destinations that a command is about.

    Args:
        tables: the arguments: the source and at least one destination, or none at all. What the options say of
            the replica is meant for every destination.
        beside: there are destinations that are no tables, so that the source may be the only table.
        options: endpoints, profiles, roles, and the name of a pair.
        environment: where ASYNCREP_PRIMARY and ASYNCREP_REPLICA may be.

    Raises:
        UsageError: no table or only one was named, or asyncrep.toml is not as it should be.
    """
    if not tables:
        source, destination = find_pair(None, None, options, environment=environment)
        return source, [destination]
    if len(tables) == 1 and beside:
        if options.pair is not None:
            raise UsageError(f"The source is named twice: as an argument and by --pair {options.pair}.")
        return _place("primary", tables[0], options, {}), []
    if len(tables) == 1:
        raise UsageError("Name SOURCE and at least one DEST, or neither.")
    source, first = find_pair(tables[0], tables[1], options, environment=environment)
    return source, [first, *(_place("replica", table, options, {}) for table in tables[2:])]


def _place(side: str, location: str, options: PlaceOptions, configured: Mapping[str, str]) -> Place:
    def setting(name: str) -> str | None:
        option: str | None = getattr(options, f"{side}_{name.replace('-', '_')}")
        return option or configured.get(f"{side}-{name}")

    endpoint = setting("endpoint") or options.endpoint_url or configured.get("endpoint-url")
    ref = TableRef.parse(location, endpoint_url=checked_endpoint(endpoint))
    return Place(ref, setting("profile"), setting("role-arn"))


def checked_endpoint(endpoint: str | None) -> str | None:
    """Return an endpoint that was given.

    Raises:
        UsageError: it is no URL.
    """
    if endpoint is not None and not endpoint.startswith(("http://", "https://")):
        raise UsageError(f'The endpoint "{endpoint}" must begin with http:// or https://.')
    return endpoint


def _configured_pair(name: str | None, folder: Path, environment: Mapping[str, str]) -> Mapping[str, str]:
    """Return a pair's settings; what the environment names counts unless a pair is named."""
    named = {
        side: environment[variable]
        for side, variable in (("primary", "ASYNCREP_PRIMARY"), ("replica", "ASYNCREP_REPLICA"))
        if environment.get(variable)
    }
    if name is None and len(named) == 2:
        return named
    path = folder / CONFIG_FILE
    if not path.exists():
        if name is not None:
            raise UsageError(f'There is no {CONFIG_FILE} here that could hold the pair "{name}".')
        return named
    return _choose(_read(path), name) | ({} if name else named)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """Read asyncrep.toml into its pairs by name; the pair at top level has the empty name."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    named: Any = content.pop("pairs", {})
    if not isinstance(named, dict) or not all(isinstance(pair, dict) for pair in named.values()):
        raise UsageError(f"{path}: pairs are written as [pairs.NAME].")
    pairs: dict[str, dict[str, Any]] = ({"": content} if content else {}) | named
    for name, pair in pairs.items():
        where = f"{path}, pair {name}" if name else str(path)
        for key, value in pair.items():
            if key not in _PAIR_KEYS:
                raise UsageError(f'{where}: "{key}" is unknown; known are {", ".join(sorted(_PAIR_KEYS))}.')
            if not isinstance(value, str):
                raise UsageError(f'{where}: "{key}" must be text in quotes.')
    return pairs


def _choose(pairs: dict[str, dict[str, str]], name: str | None) -> dict[str, str]:
    named = ", ".join(sorted(filter(None, pairs))) or "none"
    if name is not None:
        if name not in pairs:
            raise UsageError(f'{CONFIG_FILE} has no pair "{name}"; its pairs are: {named}.')
        return pairs[name]
    if "" in pairs:
        return pairs[""]
    if len(pairs) == 1:
        return next(iter(pairs.values()))
    if pairs:
        raise UsageError(f"{CONFIG_FILE} holds several pairs: choose one with --pair ({named}).")
    return {}
