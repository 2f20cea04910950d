"""``asyncrep backup-table`` as people run it: its summary, its exit codes, and what it leaves when it is ended."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support import engines
from tests.support.buckets import bucket_on
from tests.support.cli import Cli, ended, group_is_gone, wait_until
from tests.support.scenario import NAME, PRIMARY, item, items

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.buckets import Bucket
    from tests.support.cli import Ran
    from tests.support.scripted import ScriptedDynamo

TABLE = f"{PRIMARY}/{NAME}"
BACKUP = ("backup-table", TABLE)


@pytest.fixture
def bucket(moto_url: str) -> Iterator[Bucket]:
    """A bucket of one's own."""
    with bucket_on(moto_url) as bucket:
        yield bucket


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo, moto_url: str) -> Cli:
    """The command line; tables are the scripted endpoint's, everything else is moto's."""
    endpoint.create_table(NAME, PRIMARY, items=items(30)).page_items = 3
    return Cli(
        tmp_path,
        {"AWS_ENDPOINT_URL": moto_url, "AWS_ENDPOINT_URL_DYNAMODB": endpoint.url, "AWS_REGION": PRIMARY},
    )


def lines(folder: Path) -> int:
    return sum(
        gzip.decompress(path.read_bytes()).count(b"\n") for path in folder.iterdir() if path.name.isdigit()
    )


def test_a_dump_is_summed_up_for_people_and_for_programs(cli: Cli) -> None:
    told, json_told, quiet = cli.each(
        (*BACKUP, "d", "--jobid", "a", "--segments", "2"),
        (*BACKUP, "d", "--jobid", "b", "--segments", "2", "--json"),
        (*BACKUP, "d", "--jobid", "c", "--quiet"),
    )
    assert told.code == json_told.code == quiet.code == 0
    assert [line.strip() for line in told.stdout.splitlines() if line][:4] == [
        f"{TABLE} → {cli.folder}/d/a",
        "30  items written",
        "2  objects",
        *[line.strip() for line in told.stdout.splitlines() if "stored, of" in line],
    ]
    assert told.stdout.endswith("\nThe backup is whole.\n")
    assert told.stderr.startswith("backup: 30 items, ")
    assert "done" in told.stderr
    summary = json_told.summary
    assert (summary["items"], summary["complete"], summary["job_id"]) == (30, True, "b")
    assert (quiet.stdout, quiet.stderr) == ("", "")
    assert len(list((cli.folder / "d" / "c").iterdir())) == 9
    assert lines(cli.folder / "d" / "c") == 30


def test_processes_share_a_name_that_stays_text(cli: Cli, bucket: Bucket) -> None:
    place = f"s3://{bucket.name}"
    arguments = [
        (*BACKUP, place, "--jobid", "0123", "--segments", "3", "--segment", str(k)) for k in range(3)
    ]
    started = [
        subprocess.Popen(
            [*cli.program, *each], env=cli.environment, cwd=cli.folder, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for each in arguments
    ]  # fmt: skip
    for process in started:
        ran = ended(process)
        assert ran.code == 0, ran.stderr
    assert bucket.names() == [
        "0123/0", "0123/0.manifest.json", "0123/1", "0123/1.manifest.json", "0123/2", "0123/2.manifest.json",
        "0123/manifest.json",
    ]  # fmt: skip
    manifest = json.loads(bucket.body("0123/manifest.json"))
    assert (manifest["job"], manifest["items"]) == ("0123", 30)


def test_what_cannot_be_is_told_in_one_sentence(cli: Cli, bucket: Bucket) -> None:
    (cli.folder / "file").write_text("")
    place = f"s3://{bucket.name}/x"
    sentences: dict[tuple[str, ...], tuple[int, str]] = {
        (place, "--segment", "1"): (2, "--segment 1 needs --segments N: segment 1 of how many?"),
        (place, "--segment", "1", "--segments", "2"): (
            2,
            "--segment needs --jobid: all segments of a dump share its name.",
        ),
        (place, "--segment", "2", "--segments", "2", "--jobid", "a"): (
            2,
            "Segment 2 does not exist: with 2 segments they are 0 to 1.",
        ),
        (place, "--format", "csv"): (2, 'There is no format "csv"; it is one of jsonl, export.'),
        (place, "--metric", "AWS/x"): (
            2,
            "\"AWS/x\" is no namespace for metrics of one's own: AWS/ is reserved for AWS's services.",
        ),
        (place, "--read-units", "0"): (2, "Read units must be above zero, not 0.0."),
        ("-",): (2, "A dump is a folder of files: it cannot be written to stdout."),
        ("s3:/x",): (2, '"s3:/x" is not a place in S3; write it as s3://BUCKET/PREFIX.'),
        ("d", "--kms-key", "alias/x"): (
            2,
            "--kms-key has an effect only on what is kept in S3, and nothing is.",
        ),
        ("s3://no-such-bucket/x",): (3, "There is no S3 bucket for s3://no-such-bucket/x."),
        ("file/x",): (3, f"{cli.folder}/file cannot be opened: Not a directory."),
    }
    ran = cli.each(*((*BACKUP, *arguments) for arguments in sentences))
    assert [(each.code, each.sentence) for each in ran] == list(sentences.values())
    assert bucket.names() == []


def test_a_full_disk_leaves_nothing_half(cli: Cli, endpoint: ScriptedDynamo) -> None:
    endpoint.create_table(NAME, PRIMARY, items=[item(f"k{n}", v=uuid.uuid4().hex * 3000) for n in range(30)])
    ran = cli.shell(f"ulimit -f 16; asyncrep backup-table {TABLE} d --segments 1 --jobid a")
    assert ran.code == 3
    assert f"Error: {cli.folder}/d/a/0 cannot be written: File too large." in ran.stderr
    assert "The backup is incomplete" in ran.stdout
    left = [path for path in (cli.folder / "d").rglob("*") if path.is_file()]
    assert left == []


def interrupted_by(cli: Cli, endpoint: ScriptedDynamo, number: int, *arguments: str | Path) -> Ran:
    """Run until one segment is whole and the other is under way, and send a signal then."""
    endpoint.table(NAME).segment_of = lambda plain, total: int(plain[1:]) % total
    slow = endpoint.on("Scan", after=2, when=lambda body: body["Segment"] == 1).delay(20).forever()
    with cli.start(*arguments) as process:
        wait_until(lambda: list(cli.folder.rglob("0.manifest.json")) and endpoint.count("Scan") >= 8)
        process.send_signal(number)
        ran = ended(process)
    slow.wait = 0
    assert group_is_gone(process)
    return ran


NIGHTLY = (*BACKUP, "d", "--segments", "2", "--job", "nightly")


def test_ctrl_c_says_what_was_done_and_how_to_go_on(cli: Cli, endpoint: ScriptedDynamo) -> None:
    ran = interrupted_by(cli, endpoint, signal.SIGINT, *NIGHTLY)
    assert ran.code == 130
    assert "15  items written" in ran.stdout
    assert "The backup is incomplete: what is not whole was taken back." in ran.stdout
    assert "The same command goes on with the job, which is kept in" in ran.stderr
    assert ran.stderr.endswith("Interrupted.\n")
    [dump] = (cli.folder / "d").iterdir()
    assert sorted(path.name for path in dump.iterdir()) == ["0", "0.manifest.json"]
    scans = endpoint.count("Scan")
    again = cli(*NIGHTLY, "--json")
    assert (again.code, again.summary["items"], again.summary["skipped"]) == (0, 15, 15)
    assert {call.body["Segment"] for call in endpoint.requests("Scan")[scans:]} == {1}
    assert lines(dump) == 30


def test_a_killed_run_is_gone_on_with(cli: Cli, endpoint: ScriptedDynamo) -> None:
    ran = interrupted_by(cli, endpoint, signal.SIGKILL, *NIGHTLY)
    assert ran.code == -signal.SIGKILL
    [dump] = (cli.folder / "d").iterdir()
    assert {path.name for path in dump.iterdir() if not path.name.startswith(".")} == {"0", "0.manifest.json"}
    again = cli(*NIGHTLY, "--json")
    assert (again.code, again.summary["items"], again.summary["skipped"]) == (0, 15, 15)
    assert sorted(path.name for path in dump.iterdir()) == [
        "0", "0.manifest.json", "1", "1.manifest.json", "manifest.json",
    ]  # fmt: skip


def test_jobs_tells_of_backups(cli: Cli, endpoint: ScriptedDynamo) -> None:
    interrupted_by(cli, endpoint, signal.SIGINT, *NIGHTLY)
    listed, plain, shown, details = cli.each(
        ("jobs", "--json"), ("jobs",), ("jobs", "show", "nightly"), ("jobs", "show", "nightly", "--json")
    )
    [job] = json.loads(listed.stdout)
    assert (job["task"], job["state"], job["scanned"]) == ("backup", "interrupted", 15)
    assert (job["segments_done"], job["segments"]) == (1, 2)
    assert (job["source"], job["destination"], job["primary"]) == (TABLE, f"{cli.folder}/d", None)
    assert f"{TABLE} → {cli.folder}/d" in plain.stdout
    assert "1 of 2 segments done." in shown.stdout
    assert "Counted: 15 items." in shown.stdout
    command = json.loads(details.stdout)["command"]
    assert (
        command == f"asyncrep backup-table {TABLE} {cli.folder}/d --format jsonl --segments 2 --job nightly"
    )
    assert command in shown.stdout.replace("\n", " ")
    other, merged, removed = cli.each(
        (*NIGHTLY, "--format", "export"), ("jobs", "merge", "nightly"), ("jobs", "remove", "nightly")
    )
    assert other.code == 2
    assert 'was begun with --format "jsonl", not "export"' in other.stderr
    assert merged.sentence == "nightly is a job of backup-table: only checks are merged."
    assert removed.code == 0


class Namespace:
    """A namespace of metrics that no other test publishes in."""

    def __init__(self, url: str) -> None:
        self.name = f"Test/{uuid.uuid4().hex}"
        self._client: Any = boto3.client("cloudwatch", region_name=PRIMARY, endpoint_url=url)

    def published(self) -> set[tuple[str, str]]:
        """The names of the metrics and the tables they are of."""
        metrics = self._client.list_metrics(Namespace=self.name)["Metrics"]
        assert all([each["Name"] for each in metric["Dimensions"]] == ["TableName"] for metric in metrics)
        return {(metric["MetricName"], metric["Dimensions"][0]["Value"]) for metric in metrics}


def test_metrics_tell_what_came_of_it(cli: Cli, endpoint: ScriptedDynamo, moto_url: str) -> None:
    good, bad, nothing = Namespace(moto_url), Namespace(moto_url), Namespace(moto_url)
    assert cli(*BACKUP, "d", "--metric", good.name).code == 0
    assert good.published() == {("BackupSize", NAME), ("BackupRecordCount", NAME)}
    endpoint.on("Scan", after=1).error("AccessDeniedException").forever()
    failed, refused = cli.each((*BACKUP, "d", "--metric", bad.name), (*BACKUP, "-", "--metric", nothing.name))
    assert (failed.code, refused.code) == (3, 2)
    assert bad.published() == {("BackupErrors", NAME)}
    assert nothing.published() == set()


@pytest.mark.parametrize("columns", [80, 120])
def test_progress_fits_a_terminal(cli: Cli, columns: int) -> None:
    code, screen = cli.on_terminal(*BACKUP, "d", "--jobid", "a", "--segments", "2", columns=columns)
    assert code == 0
    assert max(map(len, screen.lines)) <= columns
    [bar] = [line for line in screen.lines if "backup" in line and "units/s" in line]
    assert "30/30" in bar
    assert bar.endswith(" B")


def test_a_name_that_steers_a_terminal_is_spelled_out(cli: Cli) -> None:
    ran = cli(*BACKUP, "d\x1b[31m", "--jobid", "a")
    assert ran.code == 0
    assert "\x1b" not in ran.stdout + ran.stderr


def test_a_table_on_moto_is_dumped_to_s3(cli: Cli, bucket: Bucket, moto_url: str) -> None:
    engine = engines.moto(moto_url)
    name = engine.create_table(items=items(60, v={"a": [1, b"\0"]}))
    cli.environment.pop("AWS_ENDPOINT_URL_DYNAMODB")
    ran = cli("backup-table", f"{PRIMARY}/{name}", f"s3://{bucket.name}/a//", "--jobid", "x", "--json")
    assert (ran.code, ran.summary["items"]) == (0, 60)
    assert all(each.startswith("a/x/") for each in bucket.names())
    rows = [line for k in range(4) for line in gzip.decompress(bucket.body(f"a/x/{k}")).splitlines()]
    assert sorted(json.loads(row)["id"]["S"] for row in rows) == [f"k{n:03}" for n in range(60)]
    assert all(b": " not in row for row in rows)
    engine.delete_tables()
