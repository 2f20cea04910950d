"""explain: the story of one record, for people and for programs, and with which exit code."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import engines
from tests.support.cli import Cli
from tests.support.engines import REGION
from tests.support.scenario import PRIMARY, WRITES, item, items, scene

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
KEY = '{"id":"a"}'
EXPLAIN = ("explain", *TABLES, KEY, "--settle", "0")
HOSTILE = "\x1b[2J\x9b1A\x1b]0;owned\x07\n\r\u202eend"
_STEERING = re.compile(r"\x1b\[[0-9;]*m|\r\n")


def chapters(text: str) -> dict[str, list[str]]:
    """What stands, indented, under each title."""
    told: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("  "):
            told.setdefault(title, []).append(line.strip())
        else:
            title = line
    return told


def older(endpoint: ScriptedDynamo) -> None:
    """A record whose replica is an older version, in tables that both have TTL off."""
    scene(
        endpoint,
        [item(version=7, address={"city": "Bern"}, codes={"x", "y"}, new="n")],
        [item(version=5, address={"city": "Basel"}, codes={"x", "z"}, old=[1])],
    )


def test_the_story_of_an_older_version(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    ran = cli(*EXPLAIN)
    assert (ran.code, ran.stderr) == (1, "")
    assert "The record differs." in ran.stdout.splitlines()
    assert "│ * │ version   │ " in ran.stdout
    assert chapters(ran.stdout) == {
        "What differs, primary → replica": [
            "version: 7 → 5",
            'address.city: "Bern" → "Basel"',
            'codes: only the primary has "y"; only the replica has "z"',
            'new: "n" → —',
            'old: — → {"L":[{"N":"1"}]}',
        ],
        "Why": [
            "Likely cause: the replica holds an older state of the primary's item.",
            '"version" is 5 in the replica and 7 in the primary.',
        ],
        "Is it being written to?": ["The primary's record did not change while it was looked at."],
        "Time to live": ["TTL is off on both sides."],
        "Settings that could explain it": [
            "The primary's stream is off: whatever should follow its changes is told of none."
        ],
        "Size": ["The item has 42 bytes in the primary and 48 bytes in the replica."],
        "What a repair would do": [
            (
                "replicate-record would patch the replica's item: set version, address, codes, new and remove old, "
                "on condition that these attributes still hold what was read. All others stay as they are."
            ),
            "Then it would read the primary again, to verify.",
        ],
    }
    assert not any(call.operation in WRITES for call in endpoint.calls)


def test_json_is_one_object_with_all_of_it(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    ran = cli(*EXPLAIN, "--json")
    assert (ran.code, ran.stderr) == (1, "")
    told = ran.summary
    differences = told.pop("differences")
    assert differences[1] == {
        "path": ["address", "city"], "members": False, "primary": {"S": "Bern"}, "replica": {"S": "Basel"},
    }  # fmt: skip
    sides = told.pop("primary"), told.pop("replica")
    assert [side["table"] for side in sides] == list(TABLES)
    assert [side["size"] for side in sides] == [42, 48]
    assert [side["item"]["version"] for side in sides] == [{"N": "7"}, {"N": "5"}]
    [write] = told.pop("writes")
    assert (write["write"], write["remove"]) == ("patch", ["old"])
    assert write["condition"]["attributes"]["version"] == {"N": "5"}
    assert told == {
        "key": item(),
        "kind": "different",
        "state": "found",
        "reason": None,
        "cause": "older_version",
        "version": {
            "attribute": "version", "primary": {"N": "7"}, "replica": {"N": "5"}, "replica_is_older": True,
        },
        "looks": 1,
        "attributes": {"changed": ["version", "address", "codes"], "missing": ["new"], "extra": ["old"]},
        "more_differences": 0,
        "settings": ["The primary's stream is off: whatever should follow its changes is told of none."],
        "guarded_whole": True,
        "journal": None,
        "journal_damaged": None,
    }  # fmt: skip


def test_the_exit_code_is_that_of_diff_record(cli: Cli, endpoint: ScriptedDynamo) -> None:
    past = item("expired", until=int(datetime.now(UTC).timestamp()) - 60)
    tables = scene(endpoint, [item("same"), item("here"), past], [item("same"), item("there")], ttl="until")
    verdicts = {
        "same": (0, "The record is the same on both sides."),
        "nobody": (0, "Neither side has this record."),
        "expired": (0, "The replica does not have this record."),
        "here": (1, "The replica does not have this record."),
        "there": (1, "The primary does not have this record."),
    }
    commands = [("explain", *TABLES, json.dumps({"id": id}), "--settle", "0") for id in verdicts]
    for ran, (code, sentence) in zip(cli.each(*commands), verdicts.values(), strict=True):
        assert (ran.code, ran.stderr) == (code, "")
        assert sentence in ran.stdout.splitlines()
    again = cli.each(*(("diff-record", *command[1:], "--quiet") for command in commands))
    assert [ran.code for ran in again] == [code for code, _ in verdicts.values()]
    assert tables.writes() == []


def test_tables_come_from_the_environment_too(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    cli.environment |= {"ASYNCREP_PRIMARY": TABLES[0], "ASYNCREP_REPLICA": TABLES[1]}
    assert cli("explain", KEY, "--settle", "0", "--quiet").code == 1


def test_wrong_usage_is_exit_2_and_asks_for_no_record(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    wrong: dict[str, tuple[str, ...]] = {
        "Give PRIMARY, REPLICA and KEY, or KEY alone": ("explain", TABLES[0], KEY),
        "--json and --quiet do not go together": (*EXPLAIN, "--json", "--quiet"),
        "the same table": ("explain", TABLES[0], TABLES[0], KEY),
        "must be a string": ("explain", *TABLES, '{"id":5}'),
        "There is no journal nowhere.jsonl": (*EXPLAIN, "--journal", "nowhere.jsonl"),
    }
    for sentence, ran in zip(wrong, cli.each(*wrong.values()), strict=True):
        assert (ran.code, ran.stdout) == (2, "")
        assert sentence in ran.sentence
    assert endpoint.count("BatchGetItem") == 0


def test_a_record_that_cannot_be_read_is_exit_3(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    endpoint.on("BatchGetItem", region=PRIMARY).error("AccessDeniedException").forever()
    ran = cli(*EXPLAIN)
    assert (ran.code, ran.stdout) == (3, "")
    assert ran.sentence


def test_the_journal_of_a_repair_tells_what_it_did(cli: Cli, endpoint: ScriptedDynamo) -> None:
    older(endpoint)
    place = {
        "location": TABLES[1],
        "endpoint_url": None,
        "profile": None,
        "role_arn": None,
        "arn": "",
        "table_id": None,
    }
    intent = {
        "by": "w",
        "n": 1,
        "at": "2025-01-01T00:00:00Z",
        "key": item(),
        "kind": "different",
        "segment": 0,
    }
    lines: list[dict[str, Any]] = [
        {"journal": 1, "asyncrep": "1", "at": "2025-01-01T00:00:00Z", "replica": place, "primary": TABLES[0]},
        intent
        | {"cause": "older_version", "replica": item(v=1), "patch": {"set": item(v=2), "remove": ["w"]}},
        {"by": "w", "n": 1, "at": "2025-01-01T00:00:01Z", "applied": True, "old": item(v=1)},
    ]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    (cli.folder / "j.jsonl").write_text(text)
    ran, as_json = cli.each((*EXPLAIN, "--journal", "j.jsonl"), (*EXPLAIN, "--journal", "j.jsonl", "--json"))
    assert (ran.code, as_json.code) == (1, 1)
    assert chapters(ran.stdout)["What was done to it"] == [
        "2025-01-01T00:00:00Z: a repair patched the item (id, v, w)."
    ]
    [write] = as_json.summary["journal"]
    assert (write["deed"], write["applied"], write["cause"]) == ("patch", True, "older_version")


@pytest.mark.parametrize("columns", [80, 120])
def test_a_story_fits_the_terminal(cli: Cli, endpoint: ScriptedDynamo, columns: int) -> None:
    many = {f"{'name' * 8}{number}": "lorem ipsum " * 20 for number in range(40)}
    scene(endpoint, [item(**many)], [item()])
    code, screen = cli.on_terminal(*EXPLAIN, columns=columns)
    assert code == 1
    assert max(map(len, screen.lines)) <= columns
    text = " ".join(screen.text.split())
    assert "… and 20 differences more" in text
    assert "and 20 more, on condition that these attributes still hold what was read." in text


def test_a_hostile_record_does_not_steer_the_terminal(cli: Cli, endpoint: ScriptedDynamo) -> None:
    hostile: dict[str, Any] = {HOSTILE: {HOSTILE: 1}, "set": {HOSTILE}, "version": HOSTILE}
    scene(
        endpoint,
        [item(HOSTILE, **hostile)],
        [item(HOSTILE, **{HOSTILE: {HOSTILE: 2}}, set={"x"}, version="")],
    )
    key = json.dumps({"id": HOSTILE})
    code, screen = cli.on_terminal("explain", *TABLES, key, "--settle", "0", columns=120)
    assert code == 1
    left = _STEERING.sub("", screen.raw)
    assert all(each.isprintable() or each == "\n" for each in left)


def test_a_summary_groups_what_it_found_by_cause(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(
        endpoint,
        [*items(5, version=2), item("x", v=1), item("m")],
        [*items(5, version=1), item("x", v=2)],
    )
    shown, counted = cli.each(
        ("diff-tables", *TABLES, "--settle", "0"), ("diff-tables", *TABLES, "--settle", "0", "--json")
    )
    counts = re.findall(r"^ *(\d+)  (.*?) *$", shown.stdout, re.MULTILINE)
    assert counts[3:6] == [
        ("6", "different"),
        ("5", "  older version of the primary's item"),
        ("1", "  nothing tells which side is the older one"),
    ]
    assert counted.summary["causes"] == {"older_version": 5, "attribute_change": 1, "missed_put": 1}


def test_a_story_on_a_real_engine(tmp_path: Path, moto_url: str) -> None:
    moto = engines.moto(moto_url)
    try:
        primary = moto.create_table(items=[item(updatedAt="2025-01-02T00:00:00Z", v=1, until=1)])
        replica = moto.create_table(items=[item(updatedAt="2025-01-01T00:00:00Z", v=2, until=1)])
        ttl = {"Enabled": True, "AttributeName": "until"}
        moto.call("UpdateTimeToLive", {"TableName": primary, "TimeToLiveSpecification": ttl})
        cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url})
        ran = cli("explain", f"{REGION}/{primary}", f"{REGION}/{replica}", KEY, "--settle", "0")
    finally:
        moto.delete_tables()
    assert (ran.code, ran.stderr) == (1, "")
    told = chapters(ran.stdout)
    assert told["Why"][0] == "Likely cause: the replica holds an older state of the primary's item."
    assert told["Time to live"] == [
        (
            'The primary\'s item never expires: 1970-01-01 00:00:01 UTC, in "until", is more than five years past.'
        ),
        "The replica has TTL off.",
    ]
