"""What the lease table tells of a task, for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from asyncrep.cli.replicate_status import show_status, status
from asyncrep.cli.replicate_terms import duration, lag, short_checkpoint, short_shard
from tests.support.consoles import HOSTILE, console, flat, shown
from tests.support.replications import lease, shard_id

TABLES = {"source": "us-east-1/orders", "destinations": "eu-west-1/orders"}
LEASES = [
    lease(1, checkpoint="SHARD_END", millis_behind=99_000_000, **TABLES),
    lease(4, "worker-b", "LATEST", millis_behind=340, counter=9, **TABLES),
    lease(
        2, "worker-a", "111000000000000000000123", millis_behind=7_512_000, counter=4, switches=2, **TABLES
    ),
    lease(3, parents=frozenset({shard_id(2), shard_id(1)}), **TABLES),
    lease(5, "worker-b", counter=1, **TABLES),
]


def lines_of(width: int = 80, *, terminal: bool = True, twice: bool = False) -> list[str]:
    target = console(width, terminal=terminal)
    later = [replace(each, counter=each.counter + (each.owner == "worker-b")) for each in LEASES]
    show_status(target, status("mirror", "us-east-1/T", LEASES, later if twice else None, seconds=2.0))
    return [line.rstrip() for line in shown(target).splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_it_shows_the_leases_of_shards_that_are_not_done_with(width: int) -> None:
    lines = lines_of(width)
    assert all(len(line) <= width for line in lines)
    assert lines[:2] == ["mirror  us-east-1/T", "us-east-1/orders → eu-west-1/orders"]
    assert [line.split() for line in lines[3:8]] == [
        ["shard", "owner", "checkpoint", "behind"],
        ["1414576573623-00000002", "worker-a", "…000000123", "2", "h", "5", "min"],
        ["╰", "its", "owner", "has", "changed", "2", "times", "since", "the", "checkpoint"],
        ["1414576573624-00000003", "free", "TRIM_HORIZON", "—"],
        ["╰", "waits", "for", "1414576573623-00000002"],
    ]
    text = flat(" ".join(lines))
    assert "4 shards to follow, 1 done with; the slowest was 2 h 5 min behind" in text
    assert "Leases of workers: worker-b 2, worker-a 1." in text
    assert "1 lease held by nobody." in text
    assert "renewed within" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_two_looks_tell_which_leases_are_renewed(width: int) -> None:
    lines = lines_of(width, twice=True)
    [note] = [number for number, line in enumerate(lines) if "not renewed within 2 s" in line]
    assert "worker-a" in lines[note - 1]
    assert "2 of 3 held were renewed within 2 s." in lines


def test_in_a_pipe_each_lease_is_one_line_and_nothing_is_cut() -> None:
    lines = lines_of(40, terminal=False, twice=True)
    [of_two] = [line for line in lines if line.startswith(shard_id(2))]
    assert of_two.split()[:3] == [shard_id(2), "worker-a", "111000000000000000000123"]
    assert of_two.endswith("not renewed within 2 s, its owner has changed 2 times since the checkpoint")
    assert not any("…" in line for line in lines)


def test_a_program_gets_everything_with_sequence_numbers_as_text() -> None:
    told = json.loads(json.dumps(status("mirror", "us-east-1/T", LEASES).as_dict()))
    leases = {each["shard"]: each for each in told.pop("leases")}
    assert told == {
        "task": "mirror", "lease_table": "us-east-1/T", "source": "us-east-1/orders",
        "destinations": "eu-west-1/orders", "open": 4, "free": 1, "finished": 1,
        "workers": {"worker-b": 2, "worker-a": 1}, "millis_behind": 7_512_000, "renewed": None,
        "seconds_watched": None,
    }  # fmt: skip
    assert leases[shard_id(2)] == {
        "shard": shard_id(2), "owner": "worker-a", "checkpoint": "111000000000000000000123", "finished": False,
        "millis_behind": 7_512_000, "owner_switches": 2, "counter": 4, "parents": [], "waits_for": [],
        "renewed": None,
    }  # fmt: skip
    assert leases[shard_id(3)]["parents"] == [shard_id(1), shard_id(2)]
    assert leases[shard_id(3)]["waits_for"] == [shard_id(2)], "the other one is done with"
    assert leases[shard_id(1)]["finished"]


def test_a_program_gets_which_leases_were_renewed() -> None:
    later = [replace(each, counter=each.counter + 1) for each in LEASES if each.owner == "worker-b"]
    later.append(lease(6, "worker-c"))
    told = status("mirror", "us-east-1/T", LEASES, [*later, LEASES[2], LEASES[3]], seconds=20.0).as_dict()
    assert (told["renewed"], told["seconds_watched"]) == (3, 20.0)
    assert {each["shard"]: each["renewed"] for each in told["leases"]} == {
        shard_id(2): False, shard_id(3): False, shard_id(4): True, shard_id(5): True, shard_id(6): True,
    }  # fmt: skip


@pytest.mark.parametrize("terminal", [True, False])
def test_a_task_that_nobody_has_begun_or_that_is_over(terminal: bool) -> None:
    empty, over = console(80, terminal=terminal), console(80, terminal=terminal)
    show_status(empty, status("mirror", "us-east-1/T", []))
    assert shown(empty).splitlines()[1:] == ["There are no leases: no worker of this task has begun yet."]
    show_status(over, status("mirror", "us-east-1/T", LEASES[:1]))
    assert shown(over).splitlines()[2:] == ["No shards to follow, 1 done with."]


@pytest.mark.parametrize("terminal", [True, False])
def test_hostile_names_cannot_steer_the_terminal(terminal: bool) -> None:
    bad = f"[bold]{HOSTILE}"
    target = console(80, terminal=terminal)
    leases = [
        replace(lease(1, bad), key=bad, source=bad, destinations=bad),
        replace(lease(2, checkpoint="LATEST"), key="x", parents=frozenset({bad})),
    ]
    show_status(target, status(bad, bad, leases, leases, seconds=1.0))
    text = shown(target).replace("\n", "")
    assert text.isprintable()
    assert "[bold]\\x1b[2J" in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_worker_with_a_long_name_is_cut_in_the_table_and_whole_below(width: int) -> None:
    name = "ip-10-0-0-1.eu-west-1.compute.internal:" + "0123456789abcdef" * 4
    target = console(width)
    show_status(target, status("mirror", "us-east-1/T", [lease(1, name, "1" * 30, millis_behind=1)]))
    *table, sum_of_workers = shown(target).split("Leases of workers")
    assert all(len(line) <= width for line in table[0].splitlines())
    assert name not in table[0]
    assert name in "".join(sum_of_workers.split())


@pytest.mark.parametrize(
    ("millis", "told"),
    [
        (None, "—"), (0, "0 s"), (40, "0 s"), (340, "0.3 s"), (960, "1 s"), (1_999, "1 s"), (59_999, "59 s"),
        (60_000, "1 min"), (61_000, "1 min 1 s"), (7_512_000, "2 h 5 min"), (3_605_000, "1 h"),
        (90_061_000, "1 d 1 h"), (100 * 86_400_000, "100 d"),
    ],
)  # fmt: skip
def test_a_lag_is_told_in_its_two_largest_units(millis: int | None, told: str) -> None:
    assert lag(millis) == told


def test_a_duration_may_be_told_in_one_unit() -> None:
    assert [duration(seconds, 1) for seconds in (0.0, 7.9, 3_599, 90_000)] == ["0 s", "7 s", "59 min", "1 d"]


@pytest.mark.parametrize(
    ("shard", "width", "told"),
    [
        (shard_id(7), None, "1414576573628-00000007"),
        (shard_id(7), 9, "…00000007"),
        ("shardId-00000000000000000000", None, "shardId-00000000000000000000"),
        ("shardId-00000000000000000012", 22, "12"),
        ("shardId-", 22, "shardId-"),
        ("", 22, ""),
        ("another-name", 6, "…-name"),
    ],
)
def test_a_shard_is_known_by_the_end_of_its_id(shard: str, width: int | None, told: str) -> None:
    assert short_shard(shard, width) == told


def test_of_a_checkpoint_the_digits_that_change_are_shown() -> None:
    places = ("TRIM_HORIZON", "LATEST", "SHARD_END", "12", "000000000000000000012")
    assert [short_checkpoint(place) for place in places] == [
        "TRIM_HORIZON", "LATEST", "end", "12", "…000000012",
    ]  # fmt: skip
