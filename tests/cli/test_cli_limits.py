"""Limits, budgets, samples and strategies on the command line: what is refused, and what a run tells."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from asyncrep.diff.sample import most_drifted
from tests.support.scenario import NAME, PRIMARY, REPLICA, item, items, scene

if TYPE_CHECKING:
    from tests.support.cli import Cli
    from tests.support.scenario import Scene
    from tests.support.scripted import ScriptedDynamo

TABLES = (f"{PRIMARY}/{NAME}", f"{REPLICA}/{NAME}")
DIFF = ("diff-tables", *TABLES, "--settle", "0")
DESCRIPTIONS = {"DescribeTable", "DescribeTimeToLive", "DescribeGlobalTable"}
SEGMENTS = 40

REFUSED = [
    (("--read-units", "0"), "Read units must be above zero, not 0.0."),
    (("--read-units", "nan"), "Read units must be above zero, not nan."),
    (("--write-units", "-1"), "Write units must be above zero, not -1.0."),
    (("--max-cost", "0"), "Max cost must be above zero, not 0.0."),
    (("--max-cost", "-0.5"), "Max cost must be above zero, not -0.5."),
    (("--max-cost", "nan"), "Max cost must be above zero, not nan."),
    (("--concurrency", "0"), "Concurrency must be above zero, not 0."),
    (("--concurrency", "-3"), "Concurrency must be above zero, not -3."),
    (("--segments", "0"), "The number of segments must be 1 to 1,000,000, not 0."),
    (("--read-percent", "0"), "Read percent must be above 0 and at most 100, not 0.0."),
    (("--read-percent", "nan"), "Read percent must be above 0 and at most 100, not nan."),
    (("--write-percent", "101"), "Write percent must be above 0 and at most 100, not 101.0."),
    (("--sample", "0"), "The share to sample must be above 0 and at most 1, not 0.0."),
    (("--sample", "-0.1"), "The share to sample must be above 0 and at most 1, not -0.1."),
    (("--sample", "1.01"), "The share to sample must be above 0 and at most 1, not 1.01."),
    (("--sample", "nan"), "The share to sample must be above 0 and at most 1, not nan."),
    (
        ("--sample", "0.5", "--segments", "4", "--segment", "1"),
        "--sample chooses the segments itself: it does not go with --segment.",
    ),
    (
        ("--sample", "0.5", "--backfill"),
        "--backfill copies everything in its own way: --sample and --strategy have no effect with it.",
    ),
    (
        ("--strategy", "batch-get", "--backfill", "--repair"),
        "--backfill copies everything in its own way: --sample and --strategy have no effect with it.",
    ),
    (("--strategy", "scan"), 'There is no strategy "scan"; it is one of auto, batch-get, dual-scan.'),
    (("--strategy", ""), 'There is no strategy ""; it is one of auto, batch-get, dual-scan.'),
]


def flat(text: str) -> str:
    return " ".join(text.split())


def test_what_makes_no_sense_is_refused_in_one_sentence_before_any_request(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    for (_, sentence), ran in zip(
        REFUSED, cli.each(*((*DIFF, *options) for options, _ in REFUSED)), strict=True
    ):
        assert (ran.code, ran.stdout, ran.sentence) == (2, "", sentence)
    assert endpoint.calls == []


@pytest.mark.parametrize("option", ["--read-units", "--max-cost", "--sample", "--concurrency"])
def test_what_is_no_number_is_wrong_usage(cli: Cli, endpoint: ScriptedDynamo, option: str) -> None:
    ran = cli(*DIFF, option, "much")
    assert (ran.code, ran.stdout, endpoint.calls) == (2, "", [])


def test_what_only_the_tables_tell_is_refused_before_they_are_read(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    scene(endpoint, items(3), items(3))
    one, poor, poor_repair = cli.each(
        (*DIFF, "--sample", "0.5", "--segments", "1"),
        (*DIFF, "--max-cost", "0.000001"),
        (*DIFF, "--max-cost", "0.000001", "--repair"),
    )
    assert one.sentence == (
        "A sample is a share of many segments: leave --segments out, or give more than one."
    )
    for ran in (poor, poor_repair):
        assert ran.sentence == (
            "A budget of $0.000001000 is too small: the first page of a scan alone can cost $0.00002519."
        )
    assert [(ran.code, ran.stdout) for ran in (one, poor, poor_repair)] == [(2, "")] * 3
    assert {call.operation for call in endpoint.calls} <= DESCRIPTIONS


# ── Budgets ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def costly(endpoint: ScriptedDynamo) -> Scene:
    """Tables of 2 MB that agree, in pages of 200 KB."""
    stored = items(100, blob="x" * 20_000)
    played = scene(endpoint, stored, stored)
    played.primary.page_items = played.replica.page_items = 10
    return played


@pytest.mark.usefixtures("costly")
def test_a_run_that_its_budget_ends_is_incomplete_and_says_what_was_spent_and_seen(cli: Cli) -> None:
    json, told = cli.each(
        (*DIFF, "--max-cost", "0.00004", "--json", "--quiet"), (*DIFF, "--max-cost", "0.00004")
    )
    assert (json.code, told.code) == (3, 3)
    assert re.fullmatch(
        r"The next request could pass the budget of \$0\.00004000: \$0\.0000[123]\d+ is spent\. "
        r"\d+ items of the primary and \d+ of the replica were seen\.",
        json.sentence,
    )
    assert not json.summary["complete"]
    assert 0 < json.summary["cost_usd"] <= 0.00004
    assert 0 < json.summary["scanned_primary"] + json.summary["scanned_replica"] < 200
    assert "The run is incomplete: it ended before everything was compared." in told.stdout
    assert "The replica is right" not in told.stdout
    assert "Error: The next request could pass the budget" in told.stderr


@pytest.mark.usefixtures("costly")
def test_a_run_within_its_budget_tells_what_it_cost(cli: Cli) -> None:
    bounded, free = cli.each((*DIFF, "--max-cost", "1", "--json"), (*DIFF, "--json"))
    assert (bounded.code, free.code) == (0, 0)
    assert bounded.summary["complete"]
    assert bounded.summary["cost_usd"] == pytest.approx(free.summary["cost_usd"])
    assert free.summary["cost_usd"] > 0


@pytest.mark.usefixtures("costly")
def test_one_s_own_prices_count(cli: Cli) -> None:
    prices = cli.folder / "prices.toml"
    prices.write_text("[regions.us-east-1]\nread = 1000\n[regions.eu-west-1]\nread = 1000\n")
    cli.environment["ASYNCREP_PRICES"] = str(prices)
    ran = cli(*DIFF, "--json")
    assert ran.summary["cost_usd"] == pytest.approx(ran.summary["read_units"] * 1000 / 1e6)
    shown = cli(*DIFF)
    assert re.search(r"read units · .* · \$0\.\d{4}$", shown.stdout, re.MULTILINE)


def test_of_provisioned_tables_a_note_says_that_they_are_not_counted(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    played = scene(endpoint, items(3), items(3))
    played.primary.description = played.replica.description = {
        "BillingModeSummary": {"BillingMode": "PROVISIONED"}
    }
    ran = cli(*DIFF, "--max-cost", "0.000001")
    assert ran.code == 0
    assert "Note: Requests to a provisioned table are not billed one by one" in flat(ran.stderr)


# ── Samples ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def drifted(endpoint: ScriptedDynamo) -> Scene:
    """Two hundred items, of which every fifth is missing from the replica."""
    stored = [item(f"k{number:03}") for number in range(200)]
    return scene(endpoint, stored, [each for number, each in enumerate(stored) if number % 5])


def sampled(share: str) -> tuple[str, ...]:
    return (*DIFF, "--segments", str(SEGMENTS), "--sample", share)


@pytest.mark.usefixtures("drifted")
def test_a_sample_s_figures_are_in_the_summary(cli: Cli) -> None:
    ran = cli(*sampled("0.25"), "--json")
    told = ran.summary["sampled"]
    assert (ran.code, told["segments"], told["of"]) == (1, 10, SEGMENTS)
    assert 0 < told["drifted"] <= 10
    assert told["at_most"] == most_drifted(told["drifted"], 10, SEGMENTS) / SEGMENTS
    assert ran.summary["missing"] >= told["drifted"]
    assert ran.summary["scanned_primary"] < 200


def test_without_segments_a_sample_is_a_share_of_thousands(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(5), items(5))
    ran = cli(*DIFF, "--sample", "0.01", "--json")
    assert (ran.code, ran.summary["sampled"]["segments"], ran.summary["sampled"]["of"]) == (0, 20, 2_000)


def test_a_sample_of_equal_tables_says_what_that_proves(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(50), items(50))
    sentence = (
        "A sample: 20 of 2,000 segments, chosen at random; none of them held discrepancies. With 95 % "
        "confidence at most 14 % of all segments did. The sample is right: no discrepancies."
    )
    piped = cli(*DIFF, "--sample", "0.01")
    assert piped.code == 0
    assert flat(piped.stdout).endswith(sentence)
    assert sentence.partition(" The sample")[0] in piped.stdout.splitlines()
    for columns in (80, 120):
        code, screen = cli.on_terminal(*DIFF, "--sample", "0.01", columns=columns)
        assert code == 0
        assert flat(screen.text).endswith(sentence)
        assert max(map(len, screen.lines)) <= columns


@pytest.mark.usefixtures("drifted")
def test_a_sample_with_discrepancies_sends_nobody_to_repair_a_sample(cli: Cli) -> None:
    ran = cli(*sampled("0.5"))
    assert ran.code == 1
    assert re.search(
        r"discrepancies remain; --repair without --sample brings the replica in line\.$", ran.stdout.strip()
    )


def test_a_repair_of_a_sample_says_that_it_is_one(cli: Cli, drifted: Scene) -> None:
    ran = cli(*sampled("0.5"), "--repair")
    assert ran.code == 0
    sentence = (
        "The sample is right: every discrepancy was repaired and verified; the rest of the replica was not "
        "looked at."
    )
    assert f"\n{sentence}\n" in ran.stdout
    assert 160 < len(drifted.replica.items) < 200


def test_a_sample_of_everything_is_called_so(cli: Cli, drifted: Scene) -> None:
    ran = cli(*sampled("1"), "--repair")
    assert f"The sample is everything: all {SEGMENTS} segments were looked at; " in ran.stdout
    assert "\nThe replica is right: every discrepancy was repaired and verified.\n" in ran.stdout
    assert drifted.converged


# ── Strategies ──────────────────────────────────────────────────────────────────────────────────────


def test_the_strategy_can_be_named(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, items(20), items(20))
    names = ("batch-get", "dual-scan", "auto")
    ran = cli.each(*((*DIFF, "--strategy", name, "--json") for name in names), (*DIFF, "--json"))
    assert [each.summary["strategy"] for each in ran] == ["batch-get", "dual-scan", "dual-scan", "dual-scan"]
    assert {each.code for each in ran} == {0}
