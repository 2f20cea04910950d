"""What a person sees on a terminal, and what never reaches it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli, Screen
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
NOW = ("--settle", "0")
HOSTILE = "\x1b[2J\x9b1A\x1b]0;owned\x07\n\r\u202eend"
# Everything rich sends to steer the screen: colours, lines up, erase line, the cursor's visibility.
_STEERING = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*A|2K|\?25[lh])|\r\n|\r")
WIDTHS = pytest.mark.parametrize("columns", [80, 120])


def words(screen: Screen) -> str:
    """All that stands there with line breaks and runs of spaces made one space."""
    return " ".join(screen.text.split())


def widest(screen: Screen) -> int:
    return max(map(len, screen.lines))


def forbidden(text: str) -> set[str]:
    """The characters that could steer a terminal, of what is not rich's own steering."""
    return {each for each in _STEERING.sub("", text) if not each.isprintable() and each != "\n"}


@WIDTHS
def test_a_check_fits_the_terminal(cli: Cli, endpoint: ScriptedDynamo, columns: int) -> None:
    scene(endpoint, [item("long" * 40, v=1), *items(15)], [item("long" * 40, v=2), *items(3)])
    code, screen = cli.on_terminal("diff-tables", *TABLES, *NOW, columns=columns)
    assert code == 1
    assert widest(screen) <= columns
    bars = [line for line in screen.lines if "━" in line]
    assert [line.split()[0] for line in bars] == ["primary", "replica"]
    assert all(re.search(r"━{10,} (\d+)/\1 .*/s .*units/s .*found$", line) for line in bars)
    assert (
        "The replica is not right: 13 discrepancies remain; add --repair to bring the replica in line."
        in words(screen)
    )
    assert "… and 3 more; --output FILE has all of them" in words(screen)


def test_a_repair_shows_its_deletions(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(9), [*items(8), item("x")])
    code, screen = cli.on_terminal("diff-tables", *TABLES, *NOW, "--repair", columns=80)
    assert code == 0
    assert widest(screen) <= 80
    assert [line.split()[0] for line in screen.lines if "━" in line] == ["primary", "replica", "delete"]
    assert "The replica is right: every discrepancy was repaired and verified." in words(screen)


@WIDTHS
def test_errors_are_broken_between_words(cli: Cli, columns: int) -> None:
    code, screen = cli.on_terminal("diff-tables", columns=columns)
    assert (code, widest(screen) <= columns) == (2, True)
    assert words(screen) == (
        "Error: Which tables? Name PRIMARY and REPLICA as arguments, in ASYNCREP_PRIMARY and ASYNCREP_REPLICA, "
        "or in asyncrep.toml."
    )


def test_a_record_fits_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a", text="lorem " * 60)], [item("a", text="ipsum " * 60)])
    code, screen = cli.on_terminal("diff-record", *TABLES, '{"id":"a"}', *NOW, columns=80)
    assert (code, widest(screen) <= 80) == (1, True)
    assert screen.text.count("lorem") >= 40


def test_a_terminal_s_quiet_is_quiet(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5), items(5))
    code, screen = cli.on_terminal("diff-tables", *TABLES, *NOW, "--quiet", columns=80)
    assert (code, screen.raw) == (0, "")


def test_hostile_items_do_not_steer_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item(HOSTILE, **{HOSTILE: 1})], [item(HOSTILE, **{HOSTILE: 2}), item(f"{HOSTILE}2")])
    code, summary = cli.on_terminal("diff-tables", *TABLES, *NOW, columns=120)
    assert (code, forbidden(summary.raw)) == (1, set())
    key = json.dumps({"id": HOSTILE})
    _, record = cli.on_terminal("diff-record", *TABLES, key, *NOW, columns=120)
    assert forbidden(record.raw) == set()
    assert '{"S":"\\u001b[2J\\x9b1A' in record.text


def test_hostile_arguments_do_not_steer_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    key = json.dumps({HOSTILE: 1}, ensure_ascii=False)
    for arguments in (
        ("diff-tables", HOSTILE, TABLES[1]),
        ("diff-record", *TABLES, key),
        ("diff-record", *TABLES, HOSTILE),
    ):
        code, screen = cli.on_terminal(*arguments, columns=80)
        assert (code, forbidden(screen.raw)) == (2, set())


def test_a_service_s_hostile_message_does_not_steer_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a")])
    endpoint.on("PutItem").error("ValidationException", message=f"Invalid: {HOSTILE}").forever()
    for arguments in (
        ("diff-tables", *TABLES, *NOW, "--repair"),
        ("replicate-record", *TABLES, '{"id":"a"}', *NOW),
    ):
        code, screen = cli.on_terminal(*arguments, columns=80)
        assert (code, forbidden(screen.raw)) == (3, set())


def test_a_pipe_gets_no_colours_and_whole_sentences(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("long" * 40)])
    ran = cli("diff-tables", *TABLES, *NOW)
    assert "\x1b" not in ran.stdout + ran.stderr
    assert "The replica is not right: 1 discrepancy remains; add --repair to bring the replica in line." in (
        ran.stdout.splitlines()
    )
    assert f'  + {{"id":{{"S":"{"long" * 40}"}}}}  missed put' in ran.stdout.splitlines()
