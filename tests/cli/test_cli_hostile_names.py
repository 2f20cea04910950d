"""Hostile names: whatever the data, the service, files and arguments hold, nothing of it steers a terminal or leaves a folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli, endpoint_in_thread, json_lines
from tests.support.hostile import HOSTILE, MARKUP, ODD_FILE, check, files, steers
from tests.support.scenario import NAME, PRIMARY, REPLICA, item, scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo

PAIR = (f"{PRIMARY}/{NAME}", f"{REPLICA}/{NAME}")
NOW = ("--settle", "0")
KEY = json.dumps({"id": HOSTILE})
OPERATIONS = (
    "Scan",
    "UpdateItem",
    *(
        pytest.param(name, marks=pytest.mark.long)
        for name in ("DescribeTable", "DescribeTimeToLive", "BatchGetItem")
    ),
)


def hostile_scene(endpoint: ScriptedDynamo) -> None:
    """Each kind of discrepancy, with hostile keys, attributes, values, and members in depth."""
    deep = {HOSTILE: [HOSTILE, {HOSTILE: {HOSTILE}}], "n": 1}
    scene(
        endpoint,
        [item(HOSTILE, **{HOSTILE: HOSTILE, "deep": deep, "only": {HOSTILE}}), item(f"{HOSTILE}1"), item("b", b=b"\x1b\x9b\xff")],
        [item(HOSTILE, **{HOSTILE: f"{HOSTILE}!", "deep": {**deep, "n": 2}}), item(f"{HOSTILE}2"), item("b", b=b"\x1b[2J")],
    )  # fmt: skip


# ── What records hold ───────────────────────────────────────────────────────────────────────────────

ABOUT_RECORDS: tuple[tuple[tuple[str, ...], int], ...] = (
    (("diff-tables", *PAIR, *NOW, "--verbose"), 1),
    (("diff-tables", *PAIR, *NOW, "--ignore-attribute", HOSTILE), 1),
    (("diff-tables", *PAIR, *NOW, "--repair", "--dry-run"), 1),
    (("diff-tables", *PAIR, *NOW, "--output", "d.jsonl", "--job", "j"), 1),
    (("jobs",), 0),
    (("jobs", "show", "j"), 0),
    (("plan", *PAIR), 0),
    (("diff-record", *PAIR, KEY, *NOW), 1),
    (("explain", *PAIR, KEY, *NOW), 1),
    (("repair", "d.jsonl", *PAIR, *NOW, "--dry-run"), 1),
    (("replicate-record", *PAIR, KEY, *NOW, "--journal", "1.jsonl"), 0),
    (("explain", *PAIR, KEY, *NOW, "--journal", "1.jsonl"), 0),
    (("undo", "1.jsonl", "--dry-run"), 0),
    (("undo", "1.jsonl", "--key", KEY, "--journal", "2.jsonl"), 0),
    (("undo", "1.jsonl", "--key", json.dumps({"id": f"{HOSTILE}?"})), 2),
    (("diff-tables", *PAIR, *NOW, "--repair", "--journal", "3.jsonl"), 0),
    (("repair", "d.jsonl", *PAIR, *NOW), 0),
    (("undo", "3.jsonl"), 0),
)
"""One after the other on the same tables, and how each ends."""


def test_hostile_records_reach_no_pipe_raw(cli: Cli, endpoint: ScriptedDynamo) -> None:
    hostile_scene(endpoint)
    for (arguments, code), ran in zip(
        ABOUT_RECORDS, cli.each(*(arguments for arguments, _ in ABOUT_RECORDS)), strict=True
    ):
        check(ran, code)
        assert ran.stdout or ran.stderr, arguments


def test_hostile_records_reach_no_terminal_raw(cli: Cli, endpoint: ScriptedDynamo) -> None:
    hostile_scene(endpoint)
    for arguments, code in ABOUT_RECORDS:
        ended, screen = cli.on_terminal(*arguments, columns=100)
        assert steers(screen.raw, terminal=True) == set(), arguments
        assert ended == code, screen.text


def test_names_that_look_like_markup_are_shown_as_they_are(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item(MARKUP, **{MARKUP: MARKUP})], [item(MARKUP, **{MARKUP: 1})])
    key = json.dumps({"id": MARKUP})
    for arguments, times in (
        (("diff-record", *PAIR, key, *NOW), 3),
        (("explain", *PAIR, key, *NOW), 3),
        (("diff-tables", *PAIR, *NOW), 2),
    ):
        _, screen = cli.on_terminal(*arguments, columns=300)
        assert screen.text.count(MARKUP) >= times, screen.text
        assert "\x1b]8" not in screen.raw  # a link


# ── Results for programs ────────────────────────────────────────────────────────────────────────────

RESULTS: tuple[tuple[str, ...], ...] = (
    ("diff-tables", *PAIR, *NOW, "--quiet", "--output", "-"),
    ("diff-tables", *PAIR, *NOW, "--quiet", "--combined", "-"),
    ("diff-tables", *PAIR, *NOW, "--quiet", "--json", "--job", "j"),
    ("explain", *PAIR, KEY, *NOW, "--json"),
    ("plan", *PAIR, "--json"),
    ("jobs", "--json"),
    ("jobs", "show", "j", "--json"),
    ("replicate-record", *PAIR, KEY, *NOW, "--quiet", "--journal", f"{ODD_FILE}.jsonl"),
    ("undo", f"{ODD_FILE}.jsonl", "--quiet", "--dry-run", "--json"),
    ("undo", f"{ODD_FILE}.jsonl", "--quiet", "--output", "-", "--journal", "u.jsonl"),
    ("iam-policy", "--account", "123456789012", "replicate-record", *PAIR, KEY, "--journal", f"s3://bucket/{ODD_FILE}"),
)  # fmt: skip


def parsed(arguments: Sequence[str], text: str) -> list[Any]:
    """What a result says."""
    if "--combined" in arguments:
        return [[line[:2], json.loads(line[2:])] for line in text.split("\n")[:-1]]
    if "iam-policy" in arguments:
        return [json.loads(text)]
    return json_lines(text)


def test_results_mean_the_same_on_a_terminal_and_do_not_steer_it(tmp_path: Path) -> None:
    told: list[list[list[Any]]] = []
    for terminal in (False, True):
        folder = tmp_path / str(terminal)
        folder.mkdir()
        with endpoint_in_thread() as endpoint:
            cli = Cli(folder, {"AWS_ENDPOINT_URL": endpoint.url})
            hostile_scene(endpoint)
            told.append([])
            for arguments in RESULTS:
                if terminal:
                    _, screen = cli.on_terminal(*arguments, columns=80)
                    assert steers(screen.raw, terminal=True) == set(), arguments
                    text = screen.raw.replace("\r\n", "\n")
                else:
                    text = cli(*arguments).stdout
                told[-1].append(parsed(arguments, text))
    for arguments, *both in zip(RESULTS, *told, strict=True):
        piped, shown = (len(each) for each in both)
        assert piped == shown, arguments
        if "--output" in arguments or "--combined" in arguments:
            assert sorted(map(json.dumps, both[0])) == sorted(map(json.dumps, both[1]))
            assert both[0]


# ── What the service says ───────────────────────────────────────────────────────────────────────────

CALLS: tuple[tuple[str, ...], ...] = (
    ("diff-tables", *PAIR, *NOW),
    ("diff-tables", *PAIR, *NOW, "--repair", "--verbose", "--journal", "1.jsonl"),
    ("diff-tables", *PAIR, *NOW, "--segments", "2", "--processes", "2", "--verbose"),
    ("diff-tables", *PAIR, *NOW, "--output", "-", "--repair", "--journal", "2.jsonl"),
    ("diff-record", *PAIR, KEY, *NOW, "--verbose"),
    ("explain", *PAIR, KEY, *NOW),
    ("replicate-record", *PAIR, KEY, *NOW, "--journal", "3.jsonl"),
    ("plan", *PAIR),
    ("repair", "d.jsonl", *PAIR, *NOW, "--journal", "4.jsonl"),
    ("undo", "j.jsonl", "--journal", "5.jsonl"),
)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_hostile_answers_of_the_service_are_spelled_out(
    cli: Cli, endpoint: ScriptedDynamo, operation: str
) -> None:
    hostile_scene(endpoint)
    stored = cli("diff-tables", *PAIR, *NOW, "--output", "d.jsonl")
    assert stored.code == 1
    assert cli("replicate-record", *PAIR, KEY, *NOW, "--journal", "j.jsonl").code == 0
    endpoint.on(operation, times=None).error(f"Evil{HOSTILE}", message=HOSTILE)
    for arguments, ran in zip(CALLS, cli.each(*CALLS), strict=True):
        check(ran, 0, 1, 3, verbose="--verbose" in arguments)


def test_a_hostile_answer_does_not_steer_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    hostile_scene(endpoint)
    endpoint.on("BatchGetItem", times=None).error(f"Evil{HOSTILE}", message=HOSTILE)
    for arguments in CALLS[:8]:
        code, screen = cli.on_terminal(*arguments, columns=80)
        assert steers(screen.raw, terminal=True) == set(), arguments
        assert code in {0, 3}


# ── What is typed ───────────────────────────────────────────────────────────────────────────────────

RARE = (" ", "..", "-rf", "x" * 300, "[/]", "%2e%2e%2f", "a/../../b", "{", "{}")
ODD = (HOSTILE, "", "../x", "\udcff", *(pytest.param(odd, marks=pytest.mark.long) for odd in RARE))
SLOTS: tuple[tuple[str, ...], ...] = (
    ("?",),
    ("--?",),
    ("diff-tables", "?", PAIR[1]),
    ("diff-tables", "us-east-1/?", PAIR[1]),
    ("diff-tables", "http://127.0.0.1:1/?", PAIR[1]),
    ("diff-tables", "arn:aws:dynamodb:us-east-1:123456789012:table/?", PAIR[1]),
    ("diff-tables", "arn:aws:dynamodb:?:123456789012:table/orders", PAIR[1]),
    ("diff-tables", "?:8000/orders", PAIR[1]),
    ("diff-tables", *PAIR, "?"),
    ("diff-tables", *PAIR, "--?"),
    ("diff-tables", *PAIR, "--quiet=?"),
    ("diff-tables", *PAIR, "--pair", "?"),
    ("diff-tables", "--pair", "?"),
    ("diff-tables", *PAIR, "--segments", "?"),
    ("diff-tables", *PAIR, "--strategy", "?"),
    ("diff-tables", *PAIR, "--sample", "?"),
    ("diff-tables", *PAIR, "--endpoint-url", "?"),
    ("diff-tables", *PAIR, "--endpoint-url", "http://?"),
    ("diff-tables", *PAIR, "--primary-profile", "?"),
    ("diff-tables", *PAIR, "--replica-role-arn", "?"),
    ("iam-policy", "--account", "123456789012", "plan", *PAIR, "--replica-role-arn", "arn:aws:iam::123456789012:role/?"),
    ("diff-record", *PAIR, "?"),
    ("diff-record", *PAIR, '{"?":1}'),
    ("diff-record", *PAIR, '{"id":{"?":"x"}}'),
    ("replicate-record", *PAIR, '{"id":"x","?":1}'),
    ("explain", *PAIR, "?"),
    ("explain", *PAIR, '{"id":"x"}', "--journal", "?"),
    ("plan", *PAIR, "--prices", "?"),
    ("plan", *PAIR, "--drift", "?"),
    ("repair", "?", *PAIR),
    ("undo", "?"),
    ("undo", "none", "--key", "?"),
    ("undo", "s3://?"),
    ("jobs", "?"),
    ("jobs", "show", "?"),
    ("jobs", "remove", "?"),
    ("jobs", "merge", "?", "?2"),
    ("iam-policy", "?"),
    ("iam-policy", "--account", "?", "plan", *PAIR),
    ("iam-policy", "--identity", "?", "--account", "123456789012", "plan", *PAIR),
    ("iam-policy", "--account", "123456789012", "plan", "?", PAIR[1]),
    ("sandbox", "--port", "?"),
)  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=ascii)
def test_hostile_arguments_are_refused_in_words(cli: Cli, endpoint: ScriptedDynamo, odd: str) -> None:
    scene(endpoint, [item("x")], [item("x")])
    commands = [tuple(part.replace("?", odd) for part in slot) for slot in SLOTS]
    commands = [each for each in commands if each not in {("",), ("sandbox", "--port", "")}]
    for arguments, ran in zip(commands, cli.each(*commands), strict=True):
        check(ran)
        assert ran.code or ran.stdout, arguments
    assert files(cli.folder) == set()


def test_hostile_arguments_reach_no_terminal_raw(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("x")], [item("x")])
    for slot in SLOTS[::3]:
        code, screen = cli.on_terminal(*(part.replace("?", HOSTILE) for part in slot), columns=80)
        assert steers(screen.raw, terminal=True) == set(), slot
        assert code in {0, 2, 3}, screen.text


@pytest.mark.parametrize("odd", [HOSTILE, "\udcff", "x" * 300], ids=ascii)
def test_hostile_settings_are_told_in_words(cli: Cli, endpoint: ScriptedDynamo, odd: str) -> None:
    scene(endpoint, [item("x")], [item("x")])
    sound = {
        "ASYNCREP_PRIMARY": PAIR[0], "ASYNCREP_REPLICA": PAIR[1], "ASYNCREP_PRICES": "", "AWS_REGION": "us-east-1",
        "ASYNCREP_STATE": "state", "AWS_CONFIG_FILE": "nowhere", "AWS_ENDPOINT_URL_DYNAMODB": endpoint.url,
        "AWS_ACCESS_KEY_ID": "testing", "COLUMNS": "80", "TERM": "dumb",
    }  # fmt: skip
    settings = [sound | {name: odd} for name in (*sound, "AWS_PROFILE")]
    for command in ("plan", "jobs"):
        for ran in cli.each(*[(command,)] * len(settings), environments=settings):
            check(ran)


@pytest.mark.parametrize(
    "content",
    [
        {"pairs": {HOSTILE: {"primary": PAIR[0], "replica": PAIR[1]}, f"{HOSTILE}2": {"primary": PAIR[0]}}},
        {"pairs": {HOSTILE: {HOSTILE: "x"}}},
        {"pairs": {HOSTILE: {"primary": 1}}},
        {HOSTILE: "x"},
        {"primary": HOSTILE, "replica": HOSTILE},
        {"primary": PAIR[0], "replica": PAIR[1], "endpoint-url": HOSTILE},
        {"primary": PAIR[0], "replica": PAIR[1], "primary-profile": HOSTILE},
        {"primary": PAIR[0], "replica": PAIR[1], "replica-role-arn": HOSTILE},
    ],
)
def test_a_hostile_configuration_is_told_in_words(
    cli: Cli, endpoint: ScriptedDynamo, content: dict[str, Any]
) -> None:
    scene(endpoint, [item("x")], [item("x")])
    (cli.folder / "asyncrep.toml").write_text(toml(content))
    for ran in cli.each(("plan",), ("diff-tables", "--pair", HOSTILE), ("diff-record", '{"id":"x"}')):
        check(ran)
        assert "asyncrep.toml cannot be read" not in ran.stderr


def toml(content: dict[str, Any]) -> str:
    """A table of tables as TOML, in inline form; a string of JSON is one of TOML too, but for what it may hold raw."""
    return "".join(f"{json.dumps(name)} = {inline(value)}\n" for name, value in content.items())


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {inline(each)}" for name, each in value.items()) + "}"
    return json.dumps(value)


def test_a_configuration_that_is_no_toml_is_not_quoted_raw(cli: Cli) -> None:
    (cli.folder / "asyncrep.toml").write_text(HOSTILE)
    check(cli("plan"), 2)
