"""`replicate` on the command line: what it refuses before it writes anything, what it tells, and how it goes on."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import ended, wait_until
from tests.support.fleet import Process, logging
from tests.support.scenario import item, items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo
    from tests.support.tables import ScriptedTable

SOURCE, DESTINATION = "us-east-1/orders", "eu-west-1/orders"
TASK = "DynamoDBCrossRegionReplicationt"
REPLICATE = ("replicate", SOURCE, DESTINATION)
QUICK = ("--task-name", "t", "--failover", "3", "--poll", "0.1")
SECRET = "nobody-else's-business"
WRITES = (
    "CreateTable",
    "UpdateTimeToLive",
    "PutItem",
    "UpdateItem",
    "DeleteItem",
    "BatchWriteItem",
    "TransactWriteItems",
)
PATIENCE_SECONDS = 30.0


@pytest.fixture
def source(endpoint: ScriptedDynamo) -> ScriptedTable:
    """The source, with a stream of two shards."""
    return endpoint.create_table("orders", "us-east-1", stream="NEW_AND_OLD_IMAGES", shards=2)


@pytest.fixture
def replica(endpoint: ScriptedDynamo) -> ScriptedTable:
    """The destination."""
    return endpoint.create_table("orders", "eu-west-1")


@contextmanager
def working(cli: Cli, *options: str) -> Iterator[Process]:
    """A worker that has begun."""
    with logging(cli, *REPLICATE, *QUICK, *options) as worker:
        soon(lambda: worker.told("started"))
        yield worker


def soon(condition: Callable[[], object]) -> None:
    wait_until(condition, PATIENCE_SECONDS)


def written(endpoint: ScriptedDynamo) -> list[str]:
    """The operations so far that changed anything."""
    return [call.operation for call in endpoint.calls if call.operation in WRITES]


def health(port: int) -> tuple[int, dict[str, Any]]:
    """What the health port answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


# ── Bad input ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("source", "replica")
def test_tables_that_do_not_fit_are_refused_in_one_sentence_and_nothing_is_written(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    for view in ("KEYS_ONLY", "OLD_IMAGE", "NEW_IMAGE"):
        endpoint.create_table(view, "us-east-1", stream=view)
    endpoint.create_table("off", "us-east-1")
    endpoint.create_table("was", "us-east-1", stream="NEW_IMAGE").stream.disable()
    endpoint.create_table("ranged", "eu-west-1", range=("r", "N"))
    endpoint.create_table(f"{TASK}x", "us-east-1")
    guarded = ("--guard", "sequence")
    refused = {
        ("us-east-1/off", DESTINATION): "has no stream",
        ("us-east-1/was", DESTINATION): "stream",
        ("us-east-1/KEYS_ONLY", DESTINATION): "has the view KEYS_ONLY",
        ("us-east-1/OLD_IMAGE", DESTINATION): "has the view OLD_IMAGE",
        ("us-east-1/NEW_IMAGE", DESTINATION, "--guard", "version"): "NEW_AND_OLD_IMAGES is needed",
        (SOURCE, "eu-west-1/ranged", *guarded): "different keys",
        (SOURCE, DESTINATION, "eu-west-1/ranged", *guarded): "different keys",
        (SOURCE, SOURCE, *guarded): "are the same table",
        (SOURCE, DESTINATION, DESTINATION, *guarded): "is there twice",
        (SOURCE, DESTINATION, *guarded, "--task-name", "tx"): "is no lease table",
        (SOURCE, DESTINATION, *guarded, "--rename", "id=x"): "part of the key",
        (SOURCE, DESTINATION, *guarded, "--rename", "x=id"): "part of the key",
        (SOURCE, DESTINATION, *guarded, "--guard-table", "us-east-1/guard"): "must be in the Region",
        (SOURCE, DESTINATION, *guarded, "--guard-table", "orders"): "cannot be that table itself",
        (SOURCE, DESTINATION, "--guard", "version", "--version-attribute", "id"): "part of the key",
        (SOURCE, DESTINATION, "--guard", "version", "--attribute", "x"): "copies whole items",
    }
    assert_refused(cli, refused, 2)
    assert_refused(
        cli,
        {
            ("us-east-1/none", DESTINATION): "There is no table us-east-1/none",
            (SOURCE, "eu-west-1/none", *guarded): "There is no table eu-west-1/none",
        },
        3,
    )
    assert written(endpoint) == []


@pytest.mark.usefixtures("source", "replica")
def test_malformed_options_are_refused_in_one_sentence_and_nothing_is_written(
    cli: Cli, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = {
            ("--start", "soon"): "trim-horizon",
            ("--guard", "all"): "none, sequence, version",
            ("--batch-size", "0"): "1 to 1,000",
            ("--batch-size", "1001"): "1 to 1,000",
            ("--poll", "0"): "0.1 to 3,600",
            ("--poll", "nan"): "0.1 to 3,600",
            ("--failover", "1"): "3 to 86,400",
            ("--concurrency", "0"): "above zero",
            ("--where", "=x"): "is not a condition",
            ("--event", "DROP"): "INSERT, MODIFY and REMOVE",
            ("--task-name", "a b"): "is not a task name",
            ("--dead-letter", "folder"): "it is no file",
            ("--dead-letter", "file/x"): "cannot be written to",
            ("--dead-letter", "s3://"): "names no bucket",
            ("--dead-letter", "https://example.com/q"): "not the URL of a queue",
            ("--metric", ""): "no namespace",
            ("--metric", "AWS/DynamoDB"): "reserved",
            ("--health-port", port): f"127.0.0.1:{port}",
            ("--health-port", "99999"): "1 to 65,535",
            ("--health-port", "-1"): "1 to 65,535",
            ("--health-file", "nowhere/health"): "nowhere/health",
            ("--json",): "--status only",
            ("--bootstrap", "--start", "latest"): "--bootstrap",
            ("--bootstrap", "--event", "INSERT"): "--bootstrap",
            ("--endpoint-url", "nix"): "http://",
            ("--streams-endpoint", "nix"): "http://",
            ("--lease-table-endpoint", "nix"): "http://",
        }
        guarded = ("--guard", "sequence")
        assert_refused(
            cli,
            {(SOURCE, DESTINATION, *guarded, *options): words for options, words in refused.items()}
            | {(SOURCE,): "at least one DEST"},
            2,
        )
    assert written(endpoint) == []


@pytest.mark.usefixtures("source", "replica")
def test_an_endpoint_that_does_not_answer_and_missing_credentials_fail_in_one_sentence(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    options = ("--endpoint-url", "--streams-endpoint", "--lease-table-endpoint")
    assert_refused(cli, {(SOURCE, DESTINATION, option, nobody): "could not reach" for option in options}, 3)
    del cli.environment["AWS_ACCESS_KEY_ID"], cli.environment["AWS_SECRET_ACCESS_KEY"]
    assert_refused(cli, {(SOURCE, DESTINATION): "redentials"}, 3)
    assert written(endpoint) == []


def assert_refused(cli: Cli, refused: dict[tuple[str, ...], str], code: int) -> None:
    """Each command ends with this code and a sentence that has these words, and says nothing else."""
    runs = cli.each(*[("replicate", *arguments) for arguments in refused])
    for ran, (arguments, words) in zip(runs, refused.items(), strict=True):
        assert (ran.code, arguments) == (code, arguments)
        assert words in ran.sentence, arguments
        assert ran.stdout == ""


@pytest.mark.usefixtures("source", "replica")
def test_the_tasks_name_cannot_be_used_for_other_tables(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.create_table("others", "us-east-1", stream="NEW_AND_OLD_IMAGES")
    endpoint.create_table("others", "eu-west-1")
    with working(cli) as worker:
        worker.end()
    before = len(written(endpoint))
    named = ("--task-name", "t", "--guard", "sequence")
    refused = {
        ("us-east-1/others", "eu-west-1/others", *named): "give this one a name of its own",
        (SOURCE, "eu-west-1/others", *named): "give this one a name of its own",
        (SOURCE, DESTINATION, "eu-west-1/others", *named, "--bootstrap"): "give this one a name of its own",
        (SOURCE, DESTINATION, *named, "--restart"): "add --yes",
    }
    assert_refused(cli, refused, 2)
    assert len(written(endpoint)) == before


def test_a_guard_table_that_another_worker_is_just_making_is_no_reason_to_refuse(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    guards = endpoint.create_table("asyncrep-guard", "eu-west-1")
    source.put(item("a"))
    with working(cli, "--guard", "sequence") as worker:
        soon(lambda: replica.items)
        assert worker.end() == 0
    assert guards.ttl == "expires"


# ── What it tells ──────────────────────────────────────────────────────────────────────────────────────


def test_the_log_is_one_object_a_line_without_any_items_values(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable
) -> None:
    for number in range(50):
        source.put(item(f"k{number}", secret=SECRET))
    with working(cli) as worker:
        soon(lambda: len(replica.items) == 50)
        assert worker.end() == 0
        assert worker.process.stdout is not None
        assert worker.process.stdout.read() == ""
    assert worker.errors.read_text().endswith("\n")
    events = [line["event"] for line in worker.log]
    assert events[-1] == "stopped"
    assert events.count("shard_taken") == events.count("shard_left") == 2
    assert worker.log[-1]["records"] == 50
    assert all({"time", "level", "event", "task", "worker"} <= line.keys() for line in worker.log)
    assert SECRET not in worker.errors.read_text()


def test_quiet_leaves_warnings_and_errors(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    endpoint.on("BatchWriteItem", times=1).error("ValidationException")
    source.put(item("a"))
    with logging(cli, *REPLICATE, *QUICK, "--quiet", "--dead-letter", "letters.jsonl") as worker:
        soon(lambda: worker.told("refused"))
        source.put(item("b"))
        soon(lambda: "b" in replica.items)
        assert worker.end() == 0
    assert {line["event"] for line in worker.log} == {"refused"}


@pytest.mark.usefixtures("replica")
def test_status_of_a_task_that_never_began_that_runs_and_that_has_stopped(
    cli: Cli, source: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    source.put(item("a"))
    look = (*REPLICATE, "--task-name", "t", "--status")
    never, as_json = cli.each(look, (*look, "--json"))
    assert "no worker of this task has begun yet" in never.stdout
    assert as_json.summary["leases"] == []
    assert written(endpoint) == []
    with working(cli) as worker:
        soon(lambda: len(worker.told("shard_taken")) == 2)
        shown, as_json = cli.each(look, (*look, "--json"))
        assert f":{worker.process.pid}:" in shown.stdout
        assert SOURCE in shown.stdout
        [(owner, count)] = as_json.summary["workers"].items()
        assert f":{worker.process.pid}:" in owner
        assert count == as_json.summary["open"] == 2
        worker.end()
    [after] = cli.each((*look, "--json"))
    assert after.summary["free"] == 2
    assert {ran.code for ran in (never, shown, as_json, after)} == {0}


def test_health_says_503_as_long_as_a_destination_is_down(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    port, file = free_port(), tmp_path / "health"
    with working(cli, "--health-port", str(port), "--health-file", str(file)) as worker:
        soon(lambda: health(port)[0] == 200)
        assert json.loads(file.read_text())["healthy"]
        down = endpoint.on("BatchWriteItem").error("AccessDeniedException").forever()
        source.put(item("a"))
        soon(lambda: health(port)[0] == 503)
        assert DESTINATION in health(port)[1]["reason"]
        soon(lambda: not json.loads(file.read_text())["healthy"])
        down.times = 0
        soon(lambda: health(port)[0] == 200)
        assert "a" in replica.items
        assert worker.end() == 0
    assert not file.exists()
    assert worker.told("stalled")


def test_what_ends_a_worker_for_good_is_told_in_one_sentence(
    cli: Cli, source: ScriptedTable, endpoint: ScriptedDynamo, replica: ScriptedTable
) -> None:
    with working(cli) as worker:
        source.put(item("a"))
        soon(lambda: "a" in replica.items)
        endpoint.on("Scan", table=TASK).error("AccessDeniedException").forever()
        assert worker.process.wait(PATIENCE_SECONDS) == 3
    *lines, last = worker.errors.read_text().splitlines()
    assert last.startswith("Error: ")
    assert "Traceback" not in last
    assert "Unexpected" not in last
    assert json.loads(lines[-1])["event"] == "stopped"
    assert json.loads(lines[-1])["level"] == "error"


# ── Records that can never be applied ──────────────────────────────────────────────────────────────────


def poisoned(body: dict[str, Any]) -> bool:
    """Whether a request writes the item that the service refuses."""
    return '"poison"' in json.dumps(body)


def test_a_poison_record_goes_to_the_dead_letters_and_the_rest_goes_on(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo, tmp_path: Path
) -> None:
    endpoint.on("BatchWriteItem", when=poisoned).error("ValidationException").forever()
    for each in [*items(30), item("poison", secret=SECRET), *items(60)[30:]]:
        source.put(each)
    port = free_port()
    with working(cli, "--dead-letter", "letters.jsonl", "--health-port", str(port)) as worker:
        soon(lambda: len(replica.items) == 60)
        source.put(item("later"))
        soon(lambda: "later" in replica.items)
        assert health(port)[0] == 200
        assert worker.end() == 0
    [letter] = (tmp_path / "letters.jsonl").read_text().splitlines()
    assert json.loads(letter)["record"]["dynamodb"]["Keys"] == {"id": {"S": "poison"}}
    assert json.loads(letter)["destination"] == DESTINATION
    [refused] = worker.told("refused")
    assert refused["kept"]
    assert SECRET not in worker.errors.read_text()


def test_without_a_place_for_it_a_poison_record_holds_its_shard_and_no_other(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    endpoint.on("BatchWriteItem", when=poisoned).error("ValidationException").forever()
    source.put(item("poison"))
    port = free_port()
    with working(cli, "--health-port", str(port)) as worker:
        soon(lambda: worker.told("refused"))
        for each in items(40):
            source.put(each)
        others = {
            record["dynamodb"]["Keys"]["id"]["S"]
            for shard in source.stream.shards.values()
            for _, record, _ in shard.entries
            if not any(poisoned(entry.record) for entry in shard.entries)
        }
        assert 0 < len(others) < 40
        soon(lambda: replica.items.keys() == others)
        status, told = health(port)
        assert status == 503
        assert "By the script" in told["reason"]
        assert worker.end() == 0
        assert replica.items.keys() == others
    held = [
        lease for lease in endpoint.table(TASK).items.values() if lease["checkpoint"]["S"] == "TRIM_HORIZON"
    ]
    assert len(held) == 1


# ── Beginning anew, and filling destinations ───────────────────────────────────────────────────────────


def test_restart_forgets_the_checkpoints_unless_a_worker_is_at_work(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable
) -> None:
    source.put(item("a"))
    with working(cli) as worker:
        soon(lambda: replica.items)
        with cli.start(*REPLICATE, *QUICK, "--restart", "--yes") as process:
            refused = ended(process)
        assert refused.code == 2
        assert "is at work on this task" in refused.sentence
        assert worker.end() == 0
    replica.delete("a")
    with working(cli) as worker:
        soon(lambda: len(worker.told("shard_taken")) == 2)
        worker.end()
    assert not replica.items
    with working(cli, "--restart", "--yes") as worker:
        soon(lambda: replica.items)
        assert worker.end() == 0


class Writers:
    """Writes to a table in a thread, as long as the block lasts: puts, changes and deletions."""

    def __init__(self, table: ScriptedTable) -> None:
        self.table = table
        self.rounds = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write for the length of the block, or until `end`."""
        self._thread.start()
        try:
            yield
        finally:
            self.end()

    def go_on(self, wait: Callable[[Callable[[], bool]], None]) -> None:
        """Wait until a lot more is written."""
        begun = self.rounds
        wait(lambda: self.rounds > begun + 60)

    def end(self) -> None:
        """Write no more."""
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(0.005):
            self.rounds += 1
            number = self.rounds
            self.table.put(item(f"k{number * 7 % 400:03}", n=-number))
            self.table.put(item(f"new{number % 50}", n=number))
            self.table.delete(f"k{number * 11 % 400:03}")
            if number % 100 == 0:
                self.table.stream.split()


def test_bootstrap_fills_a_destination_while_writers_write_and_then_follows(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    slowly_scanned(endpoint, source)
    writers = Writers(source)
    with writers.running(), working(cli, "--bootstrap") as worker:
        soon(lambda: len(worker.told("shard_taken")) >= 2)
        writers.go_on(soon)
        assert worker.end() == 0
    assert any("copied" in line["message"] for line in worker.told("remark"))
    scans = endpoint.count("Scan", table="orders")
    with working(cli, "--bootstrap") as again:
        soon(lambda: replica.items == source.items)
        assert again.end() == 0
    assert endpoint.count("Scan", table="orders") == scans


def test_of_two_processes_with_bootstrap_one_copies_and_the_other_waits(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    slowly_scanned(endpoint, source)
    writers = Writers(source)
    with writers.running(), ExitStack() as stack:
        both = [stack.enter_context(logging(cli, *REPLICATE, *QUICK, "--bootstrap")) for _ in range(2)]
        soon(lambda: any(worker.told("shard_taken") for worker in both))
        writers.go_on(soon)
        writers.end()
        soon(lambda: replica.items == source.items)
        for worker in both:
            soon(lambda: worker.told("started"))  # noqa: B023
            assert worker.end() == 0
    copied = [
        worker for worker in both if any("are copied" in line["message"] for line in worker.told("remark"))
    ]
    assert len(copied) == 1


def test_a_bootstrap_that_was_killed_goes_on_when_it_is_started_again(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    slowly_scanned(endpoint, source)
    writers = Writers(source)
    with writers.running():
        with logging(cli, *REPLICATE, *QUICK, "--bootstrap") as killed:
            soon(lambda: len(replica.items) > 50)
            killed.kill()
        assert not killed.told("shard_taken")
        with working(cli, "--bootstrap") as worker:
            soon(lambda: len(worker.told("shard_taken")) >= 2)
            writers.go_on(soon)
            writers.end()
            soon(lambda: replica.items == source.items)
            assert worker.end() == 0


def test_what_was_copied_is_followed_though_the_copier_died_before_it_had_said_so_of_every_shard(
    cli: Cli, source: ScriptedTable, replica: ScriptedTable, endpoint: ScriptedDynamo
) -> None:
    for each in items(40):
        source.put(each)
    with logging(cli, *REPLICATE, *QUICK, "--bootstrap") as killed:
        endpoint.before(
            "UpdateItem",
            lambda _: killed.process.kill(),
            table=TASK,
            when=lambda body: "catchingUp" in json.dumps(body),
        )
        assert killed.process.wait(PATIENCE_SECONDS) < 0
    for each in items(40, n=2):
        source.put(each)
    with working(cli) as worker:
        soon(lambda: replica.items == source.items)
        assert worker.end() == 0


def slowly_scanned(endpoint: ScriptedDynamo, source: ScriptedTable) -> None:
    """Four hundred items in ten pages that come one after the other, and not at once."""
    for each in items(400):
        source.put(each)
    source.page_items = 40
    endpoint.on("Scan", table="orders", region="us-east-1").delay(0.2).forever()
