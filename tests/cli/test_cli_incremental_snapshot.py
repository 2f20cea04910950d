"""The command line of ``incremental-snapshot``: a folder in, one file out, and the right exit code."""

from __future__ import annotations

import gzip
import json
import os
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.support import hostile
from tests.support.buckets import bucket_on
from tests.support.cli import Cli
from tests.support.engines import REGION
from tests.support.folders import START, FolderScene, compact, local_folder, name_of
from tests.support.hostile import HOSTILE
from tests.support.scenario import item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.values import Item

SNAPSHOT = "incremental-snapshot"


@pytest.fixture
def scene(moto_url: str) -> Iterator[FolderScene]:
    with bucket_on(moto_url) as bucket:
        yield (made := FolderScene(bucket))
        made.clear()


@pytest.fixture
def run(tmp_path: Path, moto_url: str) -> Cli:
    """The command line, turned towards moto."""
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url, "AWS_DEFAULT_REGION": REGION})


def source(scene: FolderScene) -> str:
    return f"s3://{scene.bucket.name}/{scene.prefix}"


def kept(scene: FolderScene, name: str) -> list[Item]:
    return [json.loads(line) for line in gzip.decompress(scene.bucket.body(name)).splitlines()]


def test_a_snapshot_is_one_file_and_a_summary(scene: FolderScene, run: Cli) -> None:
    made = sorted([item("a", n=1), item("b")], key=name_of)
    scene.put_all(made)
    FolderScene(scene.bucket, "incr/orders2").put(item("other"))
    target = f"s3://{scene.bucket.name}/snapshots/orders"
    shown, counted = run.each(
        (SNAPSHOT, source(scene), target), (SNAPSHOT, source(scene), target, "--json", "-q")
    )
    assert (shown.code, counted.code) == (0, 0)
    assert kept(scene, "snapshots/orders") == made
    text = shown.stdout.split()
    assert text[:3] == [source(scene), "→", target]
    assert "The backup is whole." in shown.stdout
    assert "snapshot: 2 items" in shown.stderr
    assert counted.stderr == ""
    told = counted.summary
    assert (told["items"], told["failed"], told["complete"], told["destination"]) == (2, 0, True, target)


def test_a_moment_is_what_was_recorded_then(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a", n=1), at=1)
    name = scene.put(item("b"), at=2)
    scene.delete(name, at=20)
    scene.put(item("a", n=2), at=20)
    when = {"2023-11-14T22:13:30": "then", f"{START + 20}": "later", "2023-11-14T23:13:40+01:00": "zoned"}
    commands = [
        (SNAPSHOT, source(scene), f"s3://{scene.bucket.name}/at/{to}", "--at", at) for at, to in when.items()
    ]
    then, later, zoned = run.each(*commands)
    assert (then.code, later.code, zoned.code) == (0, 0, 0)
    assert kept(scene, "at/then") == sorted([item("a", n=1), item("b")], key=name_of)
    assert kept(scene, "at/later") == kept(scene, "at/zoned") == [item("a", n=2)]
    assert "tells no zone: it is taken for UTC." in then.stderr
    assert "tells no zone" not in later.stderr + zoned.stderr
    assert "as S3 had recorded it at 2023-11-14T22:13:30Z: what reached it later is not in it." in then.stderr


def test_a_link_stands_for_where_it_leads(run: Cli, scene: FolderScene) -> None:
    scene.put(item("a"), at=1)
    (run.folder / "latest").symlink_to("kept.gz")
    assert run(SNAPSHOT, source(scene), "latest").code == 0
    assert (run.folder / "latest").is_symlink()
    assert {path.name for path in run.folder.glob("kept.gz*")} == {"kept.gz", "kept.gz.manifest.json"}


def test_local_folders_are_read_and_written_as_well(run: Cli) -> None:
    local_folder(run.folder / "incr" / "orders", [item("a"), item("b")])
    ran = run(SNAPSHOT, "incr/orders", "snapshots/orders", "--json")
    assert ran.code == 0
    assert gzip.decompress((run.folder / "snapshots" / "orders").read_bytes()).count(b"\n") == 2
    manifest = json.loads((run.folder / "snapshots" / "orders.manifest.json").read_bytes())
    assert (manifest["items"], manifest["source"]) == (2, str(run.folder / "incr" / "orders"))
    at = run(SNAPSHOT, "incr/orders", "snapshots/orders", "--at", str(START))
    assert at.code == 2
    assert "keeps no versions" in at.sentence


def test_an_export_has_a_place_of_its_own(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a"))
    ran = run(SNAPSHOT, source(scene), f"s3://{scene.bucket.name}/exports", "--format", "export", "--json")
    assert ran.code == 0
    told = ran.summary
    assert told["destination"] == f"s3://{scene.bucket.name}/exports/AWSDynamoDB/{told['job_id']}"
    assert f"exports/AWSDynamoDB/{told['job_id']}/manifest-summary.json" in scene.bucket.names()


def test_metrics_tell_of_the_snapshot_and_of_its_failure(scene: FolderScene, run: Cli, moto_url: str) -> None:
    scene.put(item("a"))
    target = f"s3://{scene.bucket.name}/snapshots/orders"
    bad = FolderScene(scene.bucket, "incr/bad")
    bad.put(item("a"))
    bad.put(b"x", "README")
    metric = ("--metric", f"{REGION}/Tests/Backups/{scene.bucket.name}", "--quiet")
    nothing = f"s3://{scene.bucket.name}/nothing"
    ran = run.each(
        (SNAPSHOT, source(scene), target, *metric, "--json"),
        (SNAPSHOT, source(bad), target, *metric),
        (SNAPSHOT, nothing, target, *metric),
        (SNAPSHOT, source(scene), f"s3://{scene.bucket.name}", *metric),
    )
    assert [each.code for each in ran] == [0, 3, 2, 2]
    cloudwatch: Any = boto3.client("cloudwatch", region_name=REGION, endpoint_url=moto_url)
    values: dict[str, Any] = {}
    for name in ("BackupSize", "BackupRecordCount", "BackupErrors"):
        [found] = cloudwatch.get_metric_statistics(
            Namespace="Tests/Backups", MetricName=name, Period=86_400 * 2, Statistics=["Sum"],
            Dimensions=[{"Name": "TableName", "Value": scene.bucket.name}],
            StartTime=START, EndTime=START + 10**9,
        )["Datapoints"]  # fmt: skip
        values[name] = (found["Sum"], found["Unit"])
    cloudwatch.close()
    assert values == {
        "BackupSize": (ran[0].summary["stored_bytes"], "Bytes"),
        "BackupRecordCount": (1, "Count"),
        "BackupErrors": (2, "Count"),  # what is refused before anything was looked at is none
    }


# ── What is no snapshot ─────────────────────────────────────────────────────────────────────────────


def test_an_object_that_is_no_item_is_exit_3_and_nothing_is_written(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a"))
    scene.put(b"x", "README")
    ran = run(SNAPSHOT, source(scene), f"s3://{scene.bucket.name}/snapshots/orders", "--json")
    assert ran.code == 3
    assert (ran.summary["complete"], ran.summary["failed"]) == (False, 1)
    assert f"Note: {source(scene)}/README: its name is no digest" in ran.stderr
    assert "Error: 1 object is no item of" in ran.stderr
    assert not [name for name in scene.bucket.names() if name.startswith("snapshots/")]


def test_a_snapshot_that_failed_is_summed_up_without_what_was_not_kept(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a"))
    scene.put(b"x", "README")
    target = f"s3://{scene.bucket.name}/snapshots/orders"
    ran = run(SNAPSHOT, source(scene), target)
    assert ran.code == 3
    heading, read, failed, _, conclusion = [line.strip() for line in ran.stdout.splitlines() if line]
    assert (heading, read, failed) == (
        f"{source(scene)} → {target}",
        "1  item read",
        "1  object that holds no item",
    )
    assert conclusion == "No snapshot was made: a file of it would lack items."


def test_wrong_usage_is_exit_2_and_says_why_in_one_sentence(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a"), at=1)
    bucket = f"s3://{scene.bucket.name}"
    to = f"{bucket}/x"
    os.mkfifo(run.folder / "pipe")
    wrong: dict[str, tuple[str, ...]] = {
        "It needs a name".lower(): (source(scene), bucket),
        "is a folder: name a file in it.": (source(scene), f"{bucket}/snapshots/"),
        "it would look like a part of another backup": (source(scene), f"{bucket}/snapshots/12"),
        "cannot be written to stdout": (source(scene), "-"),
        "pipe is no file: a snapshot would take its place.": (source(scene), "pipe"),
        "has to be written to another place": (source(scene), f"{source(scene)}/snapshot"),
        "orders is what is read": (source(scene), source(scene)),
        "There are folders in it: orders.": (f"{bucket}/incr", to),
        "nothing is there": (f"{bucket}/incr/order", to),
        "There is no format": (source(scene), to, "--format", "csv"),
        "REGION/NAMESPACE/TABLE": (source(scene), to, "--metric", "Backups"),
        "reserved for AWS's services": (source(scene), to, "--metric", "us-east-1/AWS/Backups/orders"),
        "is no time": (source(scene), to, "--at", "yesterday"),
        "is in the future": (source(scene), to, "--at", "2999-01-01"),
        "Nothing was recorded": (source(scene), to, "--at", str(START)),
        "is not a place in S3": (source(scene), "s3:x"),
        "names no bucket": ("s3://", to),
    }
    ran = run.each(*((SNAPSHOT, *arguments, "--quiet") for arguments in wrong.values()))
    for sentence, each in zip(wrong, ran, strict=True):
        assert (each.code, each.stdout) == (2, ""), each
        assert sentence in each.sentence
    assert scene.bucket.names() == [f"incr/orders/{name_of(item('a'))}"]


def test_a_missing_bucket_is_exit_3(scene: FolderScene, run: Cli) -> None:
    scene.put(item("a"))
    ran = run.each(
        (SNAPSHOT, "s3://no-such-bucket-here/orders", f"s3://{scene.bucket.name}/x", "--quiet"),
        (SNAPSHOT, source(scene), "s3://no-such-bucket-here/x", "--quiet"),
    )
    for each in ran:
        assert each.code == 3
        assert "There is no S3 bucket for s3://no-such-bucket-here" in each.sentence


def test_hostile_names_do_not_steer_the_terminal(run: Cli) -> None:
    folder = run.folder / "orders"
    local_folder(folder, [item(HOSTILE)])
    (folder / hostile.ODD_FILE).write_bytes(compact(item("x")))
    code, screen = run.on_terminal(SNAPSHOT, "orders", "out", columns=80)
    assert code == 3
    assert hostile.steers(screen.raw, terminal=True) == set()
    assert max(map(len, screen.lines)) <= 80
