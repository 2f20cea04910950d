"""What diff-tables tells, where, and with which exit code."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.cli import json_lines
from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0")
SUMMARY_KEYS = {
    "primary", "replica", "strategy", "segments", "scanned_primary", "scanned_replica", "compared", "matched",
    "missing", "different", "extraneous", "settled", "in_flight", "expired", "repaired", "contested", "failed",
    "read_units", "write_units", "seconds", "complete",
}  # fmt: skip


@pytest.fixture
def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Five equal items, one missing, one different, one extraneous."""
    same = items(5)
    return scene(endpoint, [*same, item("m"), item("d", v=1)], [*same, item("d", v=2), item("x")])


@pytest.fixture
def equal(endpoint: ScriptedDynamo) -> Scene:
    """Five equal items."""
    return scene(endpoint, items(5), items(5))


@pytest.mark.usefixtures("equal")
def test_tables_that_agree_are_right_and_exit_0(cli: Cli) -> None:
    ran = cli(*DIFF)
    assert ran.code == 0
    assert "us-east-1/orders → eu-west-1/orders" in ran.stdout
    assert "The replica is right: no discrepancies." in ran.stdout
    assert "primary: 5 items" in ran.stderr


@pytest.mark.usefixtures("drifted")
def test_discrepancies_exit_1_and_are_shown(cli: Cli) -> None:
    ran = cli(*DIFF)
    assert ran.code == 1
    for line in (
        '  + {"id":{"S":"m"}}  missed put',
        '  * {"id":{"S":"d"}}  differs: v',
        '  - {"id":{"S":"x"}}  missed delete',
    ):
        assert line in ran.stdout.splitlines()
    assert "The replica is not right: 3 discrepancies remain; add --repair" in ran.stdout


@pytest.mark.usefixtures("drifted")
def test_json_is_one_object_with_the_counts(cli: Cli) -> None:
    ran, quiet = cli.each((*DIFF, "--json"), (*DIFF, "--json", "--quiet"))
    assert (ran.code, quiet.code, quiet.stderr) == (1, 1, "")
    assert ran.summary.keys() >= SUMMARY_KEYS
    assert quiet.summary.keys() == ran.summary.keys()
    expected = {
        "primary": TABLES[0], "replica": TABLES[1], "scanned_primary": 7, "scanned_replica": 7, "compared": 8,
        "matched": 5, "missing": 1, "different": 1, "extraneous": 1, "repaired": 0, "complete": True,
    }  # fmt: skip
    assert {name: ran.summary[name] for name in expected} == expected


@pytest.mark.usefixtures("drifted")
def test_output_holds_both_images_and_is_private(cli: Cli) -> None:
    target = cli.folder / "d.jsonl"
    assert cli(*DIFF, "--output", target).code == 1
    found = {line["kind"]: line for line in json_lines(target.read_text())}
    assert found["different"] == {
        "kind": "different",
        "key": {"id": {"S": "d"}},
        "primary": item("d", v=1),
        "replica": item("d", v=2),
        "segment": found["different"]["segment"],
        "state": "found",
        "reason": None,
        "cause": "attribute_change",
        "attributes": {"changed": ["v"], "missing": [], "extra": []},
    }
    assert (found["missing"]["cause"], found["extraneous"]["cause"]) == ("missed_put", "missed_delete")
    assert (found["missing"]["primary"], found["missing"]["replica"]) == (item("m"), None)
    assert (found["extraneous"]["primary"], found["extraneous"]["replica"]) == (None, item("x"))
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.usefixtures("drifted")
def test_results_on_stdout_leave_the_summary_to_stderr(cli: Cli) -> None:
    output, combined, quiet = cli.each(
        (*DIFF, "--output", "-"), (*DIFF, "--combined", "-"), (*DIFF, "--combined", "-", "--quiet")
    )
    assert {line["kind"] for line in output.lines} == {"missing", "different", "extraneous"}
    assert sorted(combined.stdout.splitlines()) == [
        '* {"id":{"S":"d"}}',
        '+ {"id":{"S":"m"}}',
        '- {"id":{"S":"x"}}',
    ]
    for ran in (output, combined):
        assert (ran.code, "The replica is not right" in ran.stderr) == (1, True)
    assert (quiet.code, sorted(quiet.stdout), quiet.stderr) == (1, sorted(combined.stdout), "")


@pytest.mark.usefixtures("drifted")
def test_three_results_go_to_three_places(cli: Cli) -> None:
    ran = cli(*DIFF, "--json", "--output", "d.jsonl", "--combined", "d.txt")
    assert ran.summary["compared"] == 8
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 3
    assert len((cli.folder / "d.txt").read_text().splitlines()) == 3


def test_two_results_cannot_have_stdout(cli: Cli, endpoint: ScriptedDynamo) -> None:
    claims = [
        ("--json", "--output", "-"),
        ("--json", "--combined", "-"),
        ("--output", "-", "--combined", "-"),
    ]
    for ran in cli.each(*((*DIFF, *options) for options in claims)):
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.sentence.startswith("Only one of ")
    assert endpoint.calls == []


@pytest.mark.usefixtures("equal")
def test_a_place_that_cannot_be_written_to_stops_the_run_before_any_request(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    places = [(option, place) for option in ("--output", "--combined") for place in (".", "no/such/file")]
    for (_, place), ran in zip(places, cli.each(*((*DIFF, *each) for each in places)), strict=True):
        assert (ran.code, ran.stdout) == (2, "")
        assert ran.sentence.startswith(f"Cannot write to {place}: ")
    assert endpoint.calls == []


@pytest.mark.usefixtures("endpoint")
def test_a_run_that_cannot_begin_keeps_what_the_output_held(cli: Cli) -> None:
    target = cli.folder / "d.jsonl"
    target.write_text("precious\n")
    assert cli(*DIFF, "--output", target).code == 3
    assert target.read_text() == "precious\n"


@pytest.mark.usefixtures("endpoint")
def test_a_run_that_cannot_begin_leaves_no_empty_output(cli: Cli) -> None:
    assert cli(*DIFF, "--output", "d.jsonl").code == 3
    assert list(cli.folder.iterdir()) == []


@pytest.mark.usefixtures("equal")
def test_a_run_without_discrepancies_empties_the_output(cli: Cli) -> None:
    target = cli.folder / "d.jsonl"
    target.write_text("of yesterday\n")
    assert cli(*DIFF, "--output", target).code == 0
    assert target.read_text() == ""


@pytest.mark.usefixtures("drifted")
def test_a_full_disk_is_one_sentence_and_exit_3(cli: Cli) -> None:
    ran = cli(*DIFF, "--quiet", "--output", "/dev/full")
    assert (ran.code, ran.stdout) == (3, "")
    assert ran.sentence == "Cannot write to /dev/full: No space left on device."


@pytest.mark.usefixtures("drifted")
@pytest.mark.parametrize("options", ["--json", "--output - --quiet"])
def test_a_full_disk_behind_stdout_is_one_sentence_and_exit_3(cli: Cli, options: str) -> None:
    ran = cli.shell(f"asyncrep {' '.join(DIFF)} {options} > /dev/full")
    assert ran.code == 3
    assert "Exception ignored" not in ran.stderr
    assert "Unexpected" not in ran.stderr
    assert ran.stderr.count("No space left on device") == 1


@pytest.mark.parametrize("options", ["--output -", ""])
def test_a_reader_that_goes_away_is_no_traceback(cli: Cli, endpoint: ScriptedDynamo, options: str) -> None:
    scene(endpoint, items(400, text="x" * 300))
    ran = cli.shell(f"(asyncrep {' '.join(DIFF)} {options}; echo exit $? >&2) | head -c 1")
    assert "Traceback" not in ran.stderr
    assert "Exception" not in ran.stderr
    assert "Error" not in ran.stderr


@pytest.mark.usefixtures("equal")
def test_a_reader_that_goes_away_does_not_make_equal_tables_differ(cli: Cli) -> None:
    ran = cli.shell(f"(asyncrep {' '.join(DIFF)}; echo exit $? >&2) | true")
    assert ran.stderr.splitlines()[-1] in {"exit 0", "exit 3"}


@pytest.mark.usefixtures("equal")
def test_quiet_says_nothing_on_success(cli: Cli) -> None:
    ran = cli(*DIFF, "--quiet")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")


def test_verbose_shows_the_traceback_before_the_sentence(cli: Cli) -> None:
    ran = cli("diff-tables", "nowhere", TABLES[1], "--verbose")
    assert ran.code == 2
    assert ran.stderr.startswith("Traceback (most recent call last):")
    assert ran.stderr.splitlines()[-1].startswith('Error: "nowhere" is not a table location')


@pytest.mark.usefixtures("drifted")
def test_segments_together_see_what_the_whole_sees(cli: Cli, endpoint: ScriptedDynamo) -> None:
    found = []
    parts = [
        (*DIFF, "--segment", str(segment), "--segments", "3", "--output", "-", "-q") for segment in range(3)
    ]
    for segment, ran in enumerate(cli.each(*parts)):
        found += [json.dumps(line["key"]) for line in ran.lines]
        assert {line["segment"] for line in ran.lines} <= {segment}
    assert sorted(found) == ['{"id": {"S": "d"}}', '{"id": {"S": "m"}}', '{"id": {"S": "x"}}']
    segments = {(call.body["Segment"], call.body["TotalSegments"]) for call in endpoint.requests("Scan")}
    assert segments == {(0, 3), (1, 3), (2, 3)}


@pytest.mark.usefixtures("equal")
def test_one_segment_does_not_prove_the_whole_replica_right(cli: Cli) -> None:
    ran = cli(*DIFF, "--segment", "0", "--segments", "3")
    assert ran.code == 0
    assert "The replica is right" not in ran.stdout


NONSENSE: list[tuple[tuple[str, ...], str]] = [
    (("--segment", "1"), "--segment 1 needs --segments N"),
    (("--segment", "2", "--segments", "2"), "Segment 2 does not exist"),
    (("--segment", "-1", "--segments", "2"), "Segment -1 does not exist"),
    (("--segments", "0"), "The number of segments must be 1 to 1,000,000, not 0"),
    (("--segments", "1000001"), "The number of segments must be"),
    (("--concurrency", "0"), "Concurrency must be above zero, not 0"),
    (("--read-units", "0"), "Read units must be above zero"),
    (("--read-units", "nan"), "Read units must be above zero"),
    (("--read-percent", "0"), "Read percent must be above 0 and at most 100, not 0.0."),
    (("--read-percent", "101"), "Read percent must be above 0 and at most 100, not 101.0."),
    (("--read-percent", "nan"), "Read percent must be above 0 and at most 100, not nan."),
    (("--write-percent", "-1"), "Write percent must be above 0 and at most 100, not -1.0."),
    (("--write-units", "-5"), "Write units must be above zero"),
    (("--settle", "-1"), "Settle must be zero seconds or more"),
    (("--settle", "nan"), "Settle must be zero seconds or more"),
    (("--dry-run",), "--dry-run has an effect only together with --repair"),
    (("--no-delete",), "--no-delete has an effect only together with --repair"),
    (("--max-delete", "3"), "--max-delete has an effect only together with --repair"),
    (("--force-global-table",), "--force-global-table has an effect only together with --repair"),
    (("--backfill", "--output", "-"), "--backfill does not compare"),
    (("--backfill", "--repair", "--no-delete"), "--backfill never deletes"),
]


def test_options_that_make_no_sense_are_one_sentence_exit_2_and_no_request(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    told = cli.each(*(("diff-tables", *TABLES, *options) for options, _ in NONSENSE))
    failed = {
        options: ran.stderr or ran.stdout
        for (options, words), ran in zip(NONSENSE, told, strict=True)
        if (ran.code, ran.stdout) != (2, "") or not ran.sentence.startswith(words)
    }
    assert failed == {}
    assert endpoint.calls == []


def test_an_unknown_option_or_value_is_exit_2(cli: Cli) -> None:
    wrong = [("--nope",), ("--segments", "many"), ("--segments",), ("a", "b", "c")]
    for ran in cli.each(*(("diff-tables", *arguments) for arguments in wrong)):
        assert (ran.code, ran.stdout) == (2, "")
        assert "Traceback" not in ran.stderr


def test_ignored_attributes_are_not_compared(cli: Cli, endpoint: ScriptedDynamo) -> None:
    ours = item("a", seen=1, by="x", **{"aws:rep:updatetime": 5})
    scene(endpoint, [ours], [item("a", seen=2, by="y")])
    seen, by = ("--ignore-attribute", "seen"), ("--ignore-attribute", "by")
    assert [ran.code for ran in cli.each((*DIFF, *seen), (*DIFF, *seen, *by))] == [1, 0]


def test_settling_is_counted_and_no_drift(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(5), items(5))
    tables.replica.stale = {"k001": None}
    summary = cli(*DIFF, "--json").summary
    assert (summary["settled"], summary["missing"], summary["matched"]) == (1, 0, 4)


def test_expired_items_are_counted_apart(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a", ttl=1_790_000_000), item("b")], [item("b")], ttl="ttl")
    ran = cli(*DIFF, "--json")
    assert (ran.code, ran.summary["expired"], ran.summary["missing"]) == (0, 1, 0)


def test_records_that_kept_changing_are_told_with_the_verdict(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, [item("a", v=1), item("b")], [item("b")])
    versions = iter(range(2, 100))
    endpoint.before(
        "BatchGetItem",
        lambda _: tables.primary.put(item("a", v=next(versions))),
        region="us-east-1",
        times=None,
    )
    ran = cli(*DIFF)
    assert ran.code == 0
    assert "1  in flight" in ran.stdout
    # What was never seen at rest is not proven right.
    assert "The replica is right: no discrepancies." not in ran.stdout
