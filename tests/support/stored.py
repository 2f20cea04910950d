"""Stored diffs in tests: made of a scene as it is, and applied to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asyncrep import Rules, repair_stored
from asyncrep.cli.output import json_line
from tests.support.scenario import Log, item, items, scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asyncrep import Report
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

ALL = Rules(max_delete=1000)


def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Five equal items, one missing, one different, two extraneous."""
    same = items(5)
    return scene(
        endpoint, [*same, item("m", v=1), item("d", v=1)], [*same, item("d", v=2), item("x"), item("y")]
    )


async def lines_of(play: Scene) -> list[bytes]:
    """The lines of a stored diff of the scene as it is."""
    found, _ = await play.diff()
    play.log = Log()
    return [json_line(each) for each in found.values()]


def _write(path: Path, lines: Sequence[bytes]) -> None:
    path.write_bytes(b"".join(lines))


async def applied(play: Scene, path: Path, lines: Sequence[bytes] | None = None, **options: Any) -> Report:
    """The report of a repair by those lines, or by the file as it is; the scene's log is of it alone."""
    if lines is not None:
        _write(path, lines)
    play.log = Log()
    given: dict[str, Any] = {"clock": play.clock, "observer": play.log, "rules": ALL} | options
    async with play.open() as tables:
        return await repair_stored(*tables, path, **given)
