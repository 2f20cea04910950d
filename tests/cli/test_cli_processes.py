"""``--processes``: several workers, one result; signals reach them all and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import ended, group_is_gone, json_lines, wait_until
from tests.support.scenario import item, items, scene

if TYPE_CHECKING:
    import subprocess

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.values import Item

TABLES = ("us-east-1/orders", "eu-west-1/orders")
DIFF = ("diff-tables", *TABLES, "--settle", "0")
TWO = ("--processes", "2", "--segments", "4")
START = b"parallel/start.py"


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    """The worker processes that a command has at this moment, in the order of their start."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children if START in Path(f"/proc/{pid}/cmdline").read_bytes()]


def state_of(pid: int) -> str:
    """The letter of a process's state: T for stopped; also Z when it is gone and nobody has waited for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def drifted(count: int) -> tuple[list[Item], list[Item]]:
    """Two sides: a third of the records is missing, a third different, and some are extraneous."""
    names = [f"k{number:04}" for number in range(count)]
    replica = [item(name, v=index % 3) for index, name in enumerate(names) if index % 3]
    return [item(name, v=1) for name in names], [
        *replica,
        *(item(f"x{each:03}") for each in range(count // 10)),
    ]


def as_set(lines: list[dict[str, Any]]) -> set[str]:
    """Lines in an order of no meaning; none may come twice."""
    found = {json.dumps(line, sort_keys=True) for line in lines}
    assert len(found) == len(lines), "a line came twice"
    return found


def hold_scans(endpoint: ScriptedDynamo, times: int | None = None) -> Any:
    """Hold back all but the first pages of the primary's segments."""
    return endpoint.on(
        "Scan", region="us-east-1", times=times, when=lambda body: "ExclusiveStartKey" in body
    ).delay(600)


# ── One result ──────────────────────────────────────────────────────────────────────────────────────


def test_the_result_is_that_of_one_process(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, *drifted(300))
    told = [
        cli(*DIFF, "--segments", "4", "--strategy", "batch-get", "--json", "--output", f"{number}.jsonl",
            "--combined", f"{number}.txt", "--processes", number)
        for number in ("1", "2")
    ]  # fmt: skip
    assert [ran.code for ran in told] == [1, 1]
    one, two = (ran.summary | {"seconds": 0} for ran in told)
    assert two.pop("cost_usd") == pytest.approx(one.pop("cost_usd"))
    assert one == two
    found = [json_lines((cli.folder / f"{number}.jsonl").read_text()) for number in "12"]
    assert len(found[0]) == 100 + 100 + 30
    assert as_set(found[0]) == as_set(found[1])
    sigils = [sorted((cli.folder / f"{number}.txt").read_text().splitlines()) for number in "12"]
    assert sigils[0] == sigils[1]


def test_the_number_may_be_left_to_the_machine(cli: Cli, endpoint: ScriptedDynamo) -> None:
    """And nothing gives cause to warn."""
    scene(endpoint, *drifted(60))
    cli.environment["PYTHONWARNINGS"] = "error"
    ran = cli(*DIFF, "--processes", "auto", "--quiet", "--output", "-")
    assert (ran.code, len(as_set(ran.lines)), ran.stderr) == (1, 46, "")


@pytest.mark.parametrize(
    ("options", "code", "left"), [(("--no-delete",), 1, 30), (("--max-delete", "7"), 1, 23)]
)
def test_a_repair_mends_and_deletes_as_one_process_would(
    cli: Cli, endpoint: ScriptedDynamo, options: tuple[str, ...], code: int, left: int
) -> None:
    tables = scene(endpoint, *drifted(300))
    ran = cli(*DIFF, *TWO, "--repair", "--json", "--output", "d.jsonl", *options)
    drift = [ran.summary[name] for name in ("missing", "different", "extraneous")]
    assert (ran.code, drift) == (code, [100, 100, 30]), ran
    assert (ran.summary["repaired"], ran.summary["skipped"]) == (230 - left, left)
    assert len(as_set(json_lines((cli.folder / "d.jsonl").read_text()))) == 230
    assert len(tables.replica.items) == 300 + left
    assert endpoint.count("DeleteItem") == 30 - left


def test_a_backfill_copies_what_is_not_there(cli: Cli, endpoint: ScriptedDynamo) -> None:
    there = 100
    tables = scene(endpoint, items(300), items(there, old=1))
    ran = cli(*DIFF, *TWO, "--backfill", "--repair", "--json")
    assert (ran.code, ran.summary["repaired"], ran.summary["present"]) == (0, 300 - there, there)
    assert endpoint.count("BatchWriteItem") == 0
    assert len(tables.replica.items) == 300


# ── Bad input ───────────────────────────────────────────────────────────────────────────────────────

NONSENSE = [
    (("--processes", "0"), 'Processes must be a number above zero or auto, not "0".'),
    (("--processes", "-1"), 'Processes must be a number above zero or auto, not "-1".'),
    (("--processes", "x"), 'Processes must be a number above zero or auto, not "x".'),
    (("--processes", "1.5"), 'Processes must be a number above zero or auto, not "1.5".'),
    (("--processes", ""), 'Processes must be a number above zero or auto, not "".'),
    ((*TWO, "--segment", "0"), "One segment cannot be spread over several processes."),
]


def test_numbers_that_make_no_sense_are_one_sentence_and_no_request(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    told = cli.each(*((*DIFF, *options) for options, _ in NONSENSE))
    assert [(ran.code, ran.stdout, ran.sentence) for ran in told] == [
        (2, "", sentence) for _, sentence in NONSENSE
    ]
    assert endpoint.calls == []


# ── Ends ────────────────────────────────────────────────────────────────────────────────────────────


def test_every_line_is_written_once_when_workers_are_killed(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, *drifted(1200))
    tables.primary.page_items = tables.replica.page_items = 100
    held = hold_scans(endpoint, times=2)
    with cli.start(*DIFF, *TWO, "--json", "--output", "d.jsonl") as process:
        wait_until(lambda: held.fired == 2)
        for pid in workers_of(process):
            os.kill(pid, signal.SIGKILL)
        ran = ended(process)
    assert ran.code == 1
    names = ("compared", "matched", "missing", "different", "extraneous", "scanned_primary", "complete")
    assert [ran.summary[name] for name in names] == [1320, 400, 400, 400, 120, 1200, True]
    assert len(as_set(json_lines((cli.folder / "d.jsonl").read_text()))) == 920
    note = "A worker process died (exit code -9); its segments are done again."
    assert " ".join(ran.stderr.split()).count(note) >= 1
    assert group_is_gone(process)


def test_workers_that_cannot_start_end_the_run(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, *drifted(60))
    (cli.folder / "sitecustomize.py").write_text(
        "import os, sys\nif any('start.py' in each for each in sys.orig_argv): os._exit(7)\n"
    )
    cli.environment["PYTHONPATH"] = str(cli.folder)
    ran = cli(*DIFF, *TWO, "--quiet")
    assert (ran.code, ran.stdout) == (3, "")
    assert ran.sentence == "3 worker processes died over the same segments, the last one with exit code 7."


def test_a_table_deleted_meanwhile_ends_all(cli: Cli, endpoint: ScriptedDynamo) -> None:
    region = "eu-west-1"
    tables = scene(endpoint, *drifted(300))
    tables.primary.page_items = tables.replica.page_items = 20
    endpoint.before("Scan", lambda it: it._tables.pop((region, "orders")), region=region, after=5)
    ran = cli(*DIFF, *TWO, "--repair", "--json")
    assert (ran.code, ran.summary["complete"]) == (3, False)
    assert ran.stderr.splitlines()[-1] == f"Error: There is no table {region}/orders (any more)."
    assert endpoint.count("DeleteItem") == 0


@pytest.mark.parametrize(("number", "to_all"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_signal_ends_all_and_tells_what_was_under_way(
    cli: Cli, endpoint: ScriptedDynamo, number: signal.Signals, *, to_all: bool
) -> None:
    scene(endpoint, items(8))
    endpoint.on("PutItem", times=None).delay(600)
    with cli.start(
        *DIFF, "--processes", "2", "--segments", "2", "--repair", "--json", "--output", "d.jsonl"
    ) as it:
        wait_until(lambda: endpoint.count("PutItem") == 8)
        workers = workers_of(it)
        os.killpg(it.pid, number) if to_all else it.send_signal(number)
        ran = ended(it)
    assert len(workers) == 2
    assert (ran.code, ran.stderr.splitlines()[-1]) == (130, "Interrupted.")
    assert "Traceback" not in ran.stderr
    assert (ran.summary["failed"], ran.summary["complete"]) == (8, False)
    told = json_lines((cli.folder / "d.jsonl").read_text())
    assert len(as_set(told)) == 8
    assert {line["state"] for line in told} == {"failed"}
    assert ran.seconds < 5
    assert group_is_gone(it)


def test_written_and_not_verified_is_told_as_failed(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, items(8))

    def is_written(body: dict[str, Any]) -> bool:
        keys = body["RequestItems"]["orders"]["Keys"]
        return all(key["id"]["S"] in tables.replica.items for key in keys)

    verifying = endpoint.on("BatchGetItem", region="us-east-1", times=None, when=is_written).delay(600)
    with cli.start(
        *DIFF, "--processes", "2", "--segments", "2", "--repair", "--output", "-", "-q"
    ) as process:
        wait_until(lambda: len(tables.replica.items) == 8 and verifying.fired >= 2)
        process.send_signal(signal.SIGINT)
        ran = ended(process)
    assert (ran.code, len(as_set(ran.lines))) == (130, 8)
    assert {line["reason"] for line in ran.lines} == {
        "It was written, but the run ended before that could be verified."
    }


def test_a_second_ctrl_c_does_not_wait(cli: Cli, endpoint: ScriptedDynamo) -> None:
    """A worker that cannot conclude is given seconds, and a person who insists none."""
    scene(endpoint, *drifted(60))
    held = endpoint.on("Scan", region="us-east-1", times=None).delay(600)
    with cli.start(*DIFF, *TWO, "--quiet") as process:
        wait_until(lambda: held.fired >= 2)
        workers = workers_of(process)
        try:
            for pid in workers:
                os.kill(pid, signal.SIGSTOP)
            wait_until(lambda: all(state_of(pid) == "T" for pid in workers))
            process.send_signal(signal.SIGINT)
            # Calling a worker off is the first that is done about a signal.
            wait_until(lambda: all(has_pending(pid, signal.SIGTERM) for pid in workers))
            process.send_signal(signal.SIGINT)
            ran = ended(process)
        finally:  # whoever is stopped does not see that stdin ends
            for pid in workers:
                if state_of(pid) == "T":
                    os.kill(pid, signal.SIGKILL)
    assert (ran.code, ran.stdout, ran.stderr) == (130, "", "Interrupted.\n")
    assert ran.seconds < 5
    assert group_is_gone(process)


def has_pending(pid: int, number: signal.Signals) -> bool:
    """Whether a signal was sent to a process that has not taken it yet."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("ShdPnd:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False


def test_nobody_is_left_when_the_leading_process_is_killed(cli: Cli, endpoint: ScriptedDynamo) -> None:
    tables = scene(endpoint, *drifted(600))
    tables.primary.page_items = 50
    held = hold_scans(endpoint)
    with cli.start(*DIFF, *TWO, "--repair") as process:
        wait_until(lambda: held.fired >= 2)
        workers = workers_of(process)
        process.kill()
        wait_until(lambda: all(state_of(pid) == "Z" for pid in workers))
        _, stderr = process.communicate()
    assert len(workers) == 2
    assert "Traceback" not in stderr
