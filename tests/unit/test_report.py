"""The report: each pair counts once, in the place of its final state."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.model import Cause, Different, Extraneous, Missing, State
from asyncrep.report import Report
from tests.support.strategies import thoroughly

FOUND = (
    Missing(key=b"k", primary=b"p"),
    Different(key=b"k", primary=b"p", replica=b"r"),
    Extraneous(key=b"k", replica=b"r"),
)
DRIFT = (State.FOUND, State.REPAIRED, State.CONTESTED, State.FAILED, State.SKIPPED, State.CHANGED)
COUNTS = (
    "matched", "missing", "different", "extraneous", "settled", "in_flight", "expired", "repaired", "contested",
    "failed", "skipped", "changed", "present",
)  # fmt: skip


def counts(report):
    return {name: getattr(report, name) for name in COUNTS if getattr(report, name)}


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.kind)
@pytest.mark.parametrize(
    ("state", "counted"),
    [
        (State.FOUND, {}),
        (State.REPAIRED, {"repaired": 1}),
        (State.CONTESTED, {"contested": 1}),
        (State.FAILED, {"failed": 1}),
        (State.SKIPPED, {"skipped": 1}),
        (State.CHANGED, {"changed": 1}),
    ],
)
def test_drift_counts_under_its_kind_and_its_state(found, state, counted):
    report = Report("p", "r")
    report.count(found.moved(state))
    assert counts(report) == {found.kind: 1} | counted
    assert report.drift == report.compared == 1
    assert report.remaining == (0 if state is State.REPAIRED else 1)


@pytest.mark.parametrize("found", FOUND, ids=lambda found: found.kind)
@pytest.mark.parametrize(("state", "name"), [(State.IN_FLIGHT, "in_flight"), (State.EXPIRED, "expired")])
def test_what_is_no_drift_counts_by_its_state_alone(found, state, name):
    report = Report("p", "r")
    report.count(found.moved(state))
    assert counts(report) == {name: 1}
    assert (report.drift, report.remaining, report.compared) == (0, 0, 1)


@thoroughly
@given(st.lists(st.tuples(st.sampled_from(FOUND), st.sampled_from(State)), max_size=30), st.integers(0, 99))
def test_every_pair_counts_once_whatever_became_of_it(met, matched):
    report = Report("p", "r", matched=matched, settled=2)
    for found, state in met:
        report.count(found.moved(state))
    states = [state for _, state in met]
    assert report.compared == len(met) + matched + 2
    assert report.drift == sum(state in DRIFT for state in states)
    assert report.remaining == report.drift - states.count(State.REPAIRED)
    assert (
        report.compared == report.matched + report.settled + report.drift + report.in_flight + report.expired
    )


def test_the_summary_has_the_contract_s_names_and_can_be_printed():
    report = Report("us-east-1/orders", "eu-west-1/orders", segments=4, matched=5, seconds=1.5)
    report.count(FOUND[0].moved(State.REPAIRED))
    summary = json.loads(json.dumps(report.as_dict()))
    for name in (
        "primary", "replica", "strategy", "segments", "scanned_primary", "scanned_replica", "compared", "matched",
        "missing", "different", "extraneous", "settled", "in_flight", "expired", "repaired", "contested", "failed",
        "read_units", "write_units", "seconds", "complete",
    ):  # fmt: skip
        assert name in summary
    assert summary["primary"] == "us-east-1/orders"
    assert (summary["compared"], summary["matched"], summary["missing"], summary["repaired"]) == (6, 5, 1, 1)


def test_causes_are_counted_whatever_became_of_the_record():
    report = Report("p", "r")
    for state in State:
        report.count(Missing(key=b"k", primary=b"p", cause=Cause.MISSED_PUT).moved(state))
    report.count(FOUND[0])
    assert report.causes == {"missed_put": len(State) - 2, "in_flight": 1, "expired": 1}
    summary = report.as_dict()
    assert summary["causes"] == report.causes
    report.count(FOUND[0].moved(State.EXPIRED))
    assert summary["causes"]["expired"] == 1


def test_what_throttling_leaves_at_this_moment_is_no_figure_of_the_summary():
    assert "slowed_to" not in Report("p", "r", slowed_to=420.0, throttled=3).as_dict()


def test_a_report_is_incomplete_until_it_is_said_to_be_complete():
    report = Report("p", "r")
    assert report.as_dict()["complete"] is False
    report.complete = True
    assert report.as_dict()["complete"] is True
    assert list(report.as_dict())[-1] == "complete"


def test_what_was_seen_and_not_judged_is_told_of_a_run_that_ended_early():
    report = Report("p", "r", scanned_primary=100, matched=80, missing=5, in_flight=1)
    assert (report.unjudged, report.as_dict()["unjudged"]) == (14, 14)
    report.complete = True
    assert report.unjudged == 0
