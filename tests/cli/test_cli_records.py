"""diff-record and replicate-record: one record, shown or brought in line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.scenario import WRITES, item, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
NOW = ("--settle", "0")
KEY = '{"id":"a"}'


def rows(text: str) -> dict[str, tuple[str, str, str]]:
    """The table of attributes: name to mark, primary's and replica's value."""
    cells = [line.strip("│").split("│") for line in text.splitlines() if line.startswith("│")]
    return {name.strip(): (mark.strip(), ours.strip(), theirs.strip()) for mark, name, ours, theirs in cells}


def test_a_record_is_compared_attribute_by_attribute(cli: Cli, endpoint: ScriptedDynamo) -> None:
    ours = item("a", v=1, same="x", new="n", seen=1, **{"aws:rep:deleting": True})
    scene(endpoint, [ours], [item("a", v=2, same="x", old="o", seen=2)])
    ran = cli("diff-record", *TABLES, KEY, *NOW, "--ignore-attribute", "seen")
    assert ran.code == 1
    assert rows(ran.stdout) == {
        "aws:rep:deleting": ("~", '{"BOOL":true}', "—"),
        "id": ("", '{"S":"a"}', '{"S":"a"}'),
        "new": ("+", '{"S":"n"}', "—"),
        "old": ("-", "—", '{"S":"o"}'),
        "same": ("", '{"S":"x"}', '{"S":"x"}'),
        "seen": ("~", '{"N":"1"}', '{"N":"2"}'),
        "v": ("*", '{"N":"1"}', '{"N":"2"}'),
    }
    assert ran.stdout.splitlines()[-1] == "The record differs. replicate-record brings the replica in line."
    assert not any(call.operation in WRITES for call in endpoint.calls)


def test_the_verdict_on_a_record(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("same"), item("here")], [item("same"), item("there")])
    verdicts = {
        "same": (0, "The record is the same on both sides."),
        "here": (1, "The replica does not have this record. replicate-record brings the replica in line."),
        "there": (1, "The primary does not have this record. replicate-record brings the replica in line."),
    }
    told = cli.each(*(("diff-record", *TABLES, json.dumps({"id": id}), *NOW) for id in verdicts))
    assert {
        id: (ran.code, ran.stdout.splitlines()[-1]) for id, ran in zip(verdicts, told, strict=True)
    } == verdicts
    assert [ran.stderr for ran in told] == ["", "", ""]


def test_a_record_that_nobody_has_is_one_sentence_without_a_table(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    ran = cli("diff-record", *TABLES, KEY, *NOW)
    assert ran.code == 0
    assert "attribute" not in ran.stdout
    assert ran.stdout.splitlines()[-1] == "Neither side has this record."


def test_a_record_is_brought_in_line(cli: Cli, endpoint: ScriptedDynamo) -> None:
    ours = [item("same"), item("here"), item("both", v=1), item("other")]
    tables = scene(endpoint, ours, [item("same"), item("there"), item("both", v=2)])
    sentences = {
        "same": "The record is the same on both sides; nothing was written.\n",
        "here": "The record was put in the replica and verified.\n",
        "there": "The record was deleted in the replica and verified.\n",
        "both": "The record was patched in the replica and verified.\n",
    }
    told = cli.each(*(("replicate-record", *TABLES, json.dumps({"id": id}), *NOW) for id in sentences))
    assert {id: ran.stdout for id, ran in zip(sentences, told, strict=True)} == sentences
    assert {ran.code for ran in told} == {0}
    noted = {id: "asyncrep undo" in ran.stderr for id, ran in zip(sentences, told, strict=True)}
    assert noted == {"same": False, "here": True, "there": True, "both": True}
    assert sorted(tables.writes()) == ["DeleteItem", "PutItem", "UpdateItem"]
    del tables.primary.items["other"]
    assert tables.converged


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, [item("here"), item("both", v=1)], [item("there"), item("both", v=2)])
    sentences = {
        "here": "The record is missing. Dry run: it would be put.\n",
        "there": "The record is extraneous. Dry run: it would be deleted.\n",
        "both": "The record is different. Dry run: it would be patched.\n",
    }
    told = cli.each(
        *(("replicate-record", *TABLES, json.dumps({"id": id}), "--dry-run", *NOW) for id in sentences)
    )
    assert {id: ran.stdout for id, ran in zip(sentences, told, strict=True)} == sentences
    assert {ran.code for ran in told} == {1}
    assert tables.writes() == []
    [refused] = cli.each(("replicate-record", *TABLES, KEY, "--dry-run", "--journal", "j.jsonl"))
    assert refused.code == 2


def test_nobody_s_record_is_not_called_the_same_on_both_sides(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint)
    ran = cli("replicate-record", *TABLES, KEY, *NOW)
    assert (ran.code, tables.writes()) == (0, [])
    assert ran.stdout.startswith("Neither side has this record")


def test_every_form_of_a_key_names_the_same_record(cli: Cli, endpoint: ScriptedDynamo) -> None:
    record = {"id": {"B": "AAE="}, "n": {"N": "5"}, "v": {"S": "x"}}
    scene(endpoint, [record], hash=("id", "B"), range=("n", "N"))
    keys = [
        '{"id":"AAE=","n":5}',
        '{"n": 5.0, "id": "AAE="}',
        '{"id":{"B":"AAE="},"n":{"N":"5e0"}}',
        '{"id":{"B":"AAE="},"n":5}',
    ]
    shown = [("diff-record", *TABLES, key, *NOW) for key in keys]
    *told, done = cli.each(*shown, ("replicate-record", *TABLES, keys[1], *NOW))
    for ran in told:
        assert ran.code == 1
        assert rows(ran.stdout)["v"] == ("+", '{"S":"x"}', "—")
    assert done.code == 0
    assert endpoint.table("orders", "eu-west-1").items == endpoint.table("orders").items


BAD_KEYS = [
    "",
    '{"id":"AAE=","n":5',
    "{}",
    '{"id":"AAE="}',
    '{"id":"AAE=","n":5,"more":1}',
    '{"id":"AAE","n":5}',
    '{"id":5,"n":5}',
    '{"id":"AAE=","n":"5"}',
    '{"id":"AAE=","n":true}',
    '{"id":"AAE=","n":1e400}',
    '{"id":"AAE=","n":123456789012345678901234567890123456789}',
    '{"id":"AAE=","n":{"N":"five"}}',
    '{"id":{"B":"AAE=","S":"x"},"n":5}',
    '{"id":"AAE=","n":5,"n":6}',
    '{"id":"AAE=","n":' + "[" * 100_000,
]


def test_a_bad_key_is_exit_2_and_asks_for_no_record(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, hash=("id", "B"), range=("n", "N"))
    accepted = {}
    for key, ran in zip(
        BAD_KEYS,
        cli.each(*(("replicate-record", *TABLES, key, *NOW) for key in BAD_KEYS)),
        strict=True,
    ):
        if (ran.code, ran.stdout) != (2, "") or "key" not in ran.sentence.lower():
            accepted[key[:60]] = ran
    assert accepted == {}
    assert {call.operation for call in endpoint.calls} <= {"DescribeTable", "DescribeTimeToLive"}


def test_half_a_character_is_a_bad_key(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint)
    ran = cli("diff-record", *TABLES, '{"id":"\\ud800"}', *NOW)
    assert ran.code == 2
    assert not ran.sentence.startswith("Unexpected")


def test_a_wrong_number_of_arguments_is_exit_2(cli: Cli, endpoint: ScriptedDynamo) -> None:
    for ran in cli.each(("replicate-record", TABLES[0], KEY), ("diff-record", *TABLES, KEY, "more")):
        assert ran.code == 2
        assert ran.sentence.startswith("Give PRIMARY, REPLICA and KEY, or KEY alone")
    assert endpoint.calls == []


def test_quiet_leaves_only_the_exit_code(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, [item(v=1)])
    commands = ("diff-record", "replicate-record", "diff-record")
    told = cli.each(*((command, *TABLES, KEY, *NOW, "--quiet") for command in commands))
    assert [(ran.code, ran.stdout, ran.stderr) for ran in told] == [(1, "", ""), (0, "", ""), (0, "", "")]
    assert tables.converged


def test_a_refused_record_is_exit_3_with_the_reason(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item(v=1)])
    endpoint.on("PutItem").error("ValidationException", message="No such item can be.").forever()
    ran = cli("replicate-record", *TABLES, KEY, *NOW)
    assert ran.code == 3
    assert "No such item can be." in ran.stdout + ran.stderr
    assert "the record is failed" not in ran.stdout


def test_a_table_is_no_replica_of_itself(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item(v=1)])
    for ran in cli.each(
        *((command, TABLES[0], TABLES[0], KEY, *NOW) for command in ("diff-record", "replicate-record"))
    ):
        assert (ran.code, ran.stdout) == (2, "")
        assert "the same table" in ran.sentence


def test_a_missing_table_is_one_sentence(cli: Cli) -> None:
    ran = cli("replicate-record", *TABLES, json.dumps({"id": "a"}))
    assert ran.code == 3
    assert ran.sentence == "There is no table us-east-1/orders (any more)."
