"""A job that is kept in S3: gone on with after a kill, noticed when it is taken over, shown and removed."""

from __future__ import annotations

import json
import shlex
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cli import Cli, ended, json_lines, wait_until
from tests.support.job_runs import (
    KILL,
    SAVING_OFTEN,
    SAVING_SELDOM,
    TERM,
    Moment,
    drifted,
    other,
    run_until,
    stopped_at_a_scan,
)
from tests.support.scenario import same_items, session

if TYPE_CHECKING:
    import signal
    from pathlib import Path

    from tests.support.scripted import ScriptedDynamo


@pytest.fixture
def cli(tmp_path: Path, endpoint: ScriptedDynamo, moto_url: str) -> Cli:
    """A command line that saves often; S3 is moto's."""
    places = {"AWS_ENDPOINT_URL": endpoint.url, "AWS_ENDPOINT_URL_S3": moto_url, "AWS_REGION": "us-east-1"}
    return Cli(tmp_path, places, SAVING_OFTEN)


@pytest.fixture
async def bucket(moto_url: str) -> str:
    """A bucket of its own."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    async with client(moto_url) as s3:
        await s3.create_bucket(Bucket=name)
    return name


def client(url: str) -> Any:
    return session().client("s3", region_name="us-east-1", endpoint_url=url)


async def names(url: str, bucket: str) -> list[str]:
    async with client(url) as s3:
        answer = await s3.list_objects_v2(Bucket=bucket)
        return sorted(entry["Key"] for entry in answer.get("Contents", []))


def command(bucket: str, *options: str) -> tuple[str, ...]:
    given = list(other(*options))
    given[given.index("j")] = f"s3://{bucket}/a b/../nightly/"
    return tuple(given)


@pytest.mark.parametrize(
    ("number", "moment"), [(KILL, Moment("PutItem", 5, landed=True)), (TERM, Moment("UpdateItem", 3))]
)
async def test_a_job_in_s3_goes_on(
    cli: Cli, endpoint: ScriptedDynamo, bucket: str, moto_url: str, number: signal.Signals, moment: Moment
) -> None:
    played = drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.01)
    repair = command(bucket, "--repair")
    run_until(cli, endpoint, moment, number, repair)
    place = f"s3://{bucket}/a b/../nightly"
    seen = json.loads(cli("jobs", "show", place, "--json").stdout)
    # Whoever is killed says no good-bye; that nobody of this computer works on it is all that is known.
    assert seen["state"] == ("running" if number is KILL else "interrupted")
    assert seen["journal"] is None or seen["journal"].startswith(f"{place}/journal-")
    again = cli(*repair)
    assert (again.code, again.summary["repaired"], again.summary["complete"]) == (0, 30, True), again.stderr
    assert again.summary["matched"] == 60
    assert len(json_lines((cli.folder / "d.jsonl").read_text())) == 30
    assert same_items(played.primary.items.values(), played.replica.items.values())

    done = json.loads(cli("jobs", "show", place, "--json").stdout)
    assert (done["state"], done["runs"], done["journal"]) == ("done", 2, again.summary["journal"])
    removed = cli("jobs", "remove", place)
    assert (
        f"Its journal is kept; to take back what it wrote: asyncrep undo '{done['journal']}'"
        in removed.stdout
    )
    left = await names(moto_url, bucket)
    assert left
    assert all(name.startswith("a b/../nightly/journal-") for name in left)
    assert cli("jobs", "remove", place, "--with-journal").code == 0
    assert await names(moto_url, bucket) == []
    assert cli("jobs", "show", place).sentence == f"There is no job in {place}."


async def test_what_jobs_suggests_reaches_s3_as_jobs_itself_did(
    cli: Cli, endpoint: ScriptedDynamo, bucket: str, moto_url: str
) -> None:
    drifted(endpoint)
    endpoint.on("Scan", times=None).delay(0.01)
    del cli.environment["AWS_ENDPOINT_URL_S3"]
    reaching = ("--s3-endpoint", moto_url, "--bucket-owner", "123456789012")
    repair = (*command(bucket, "--repair"), *reaching)
    run_until(cli, endpoint, Moment("UpdateItem", 3), TERM, repair)
    place = f"s3://{bucket}/a b/../nightly"
    shown, told = cli.each(("jobs", "show", place, *reaching), ("jobs", "show", place, "--json", *reaching))
    goes_on = json.loads(told.stdout)["command"]
    assert goes_on.endswith(shlex.join(["--job", place, *reaching]))
    assert f"  {goes_on}" in shown.stdout.splitlines()
    again = cli.shell(f"{goes_on} --json")
    assert (again.code, again.summary["repaired"]) == (0, 30), again.stderr

    undo = shlex.join(["asyncrep", "undo", again.summary["journal"], *reaching])
    shown, merged, removed = cli.each(
        ("jobs", "show", place, *reaching),
        ("jobs", "merge", place, *reaching),
        ("jobs", "remove", place, *reaching),
    )
    assert [undo in ran.stdout for ran in (shown, merged, removed)] == [True, True, True]
    undone = cli.shell(f"{undo} --dry-run")
    assert "30 of 30 records, done" in undone.stderr, undone.stdout


async def test_what_is_not_the_jobs_stays_in_the_bucket(
    cli: Cli, endpoint: ScriptedDynamo, bucket: str, moto_url: str
) -> None:
    drifted(endpoint)
    async with client(moto_url) as s3:
        await s3.put_object(Bucket=bucket, Key="data", Body=b"mine")
    given = list(other("--quiet"))
    given[given.index("j")] = f"s3://{bucket}"
    assert cli(*given).code == 1
    kept = await names(moto_url, bucket)
    assert (kept[:2], len(kept)) == (["data", "state.json"], 3)
    removed = cli("jobs", "remove", f"s3://{bucket}")
    assert "What else is there stays: 'data'." in removed.stdout
    assert await names(moto_url, bucket) == ["data"]


def test_a_second_run_on_this_computer_is_refused(cli: Cli, endpoint: ScriptedDynamo, bucket: str) -> None:
    drifted(endpoint)
    with stopped_at_a_scan(cli, endpoint, *command(bucket)) as process:
        second = cli(*command(bucket))
        process.send_signal(TERM)
        assert ended(process).code == 130
    assert (second.code, second.stdout) == (2, "")
    assert second.sentence == f"Another process is working on the job in s3://{bucket}/a b/../nightly."
    assert not list((cli.folder / "state/locks").iterdir())


def test_a_run_whose_job_is_taken_over_elsewhere_ends(
    cli: Cli, endpoint: ScriptedDynamo, bucket: str, tmp_path: Path
) -> None:
    drifted(endpoint)
    (tmp_path / "elsewhere").mkdir()
    elsewhere = Cli(tmp_path / "elsewhere", dict(cli.environment), cli.program)
    elsewhere.environment["ASYNCREP_STATE"] = str(tmp_path / "elsewhere/state")
    cli.program = SAVING_SELDOM  # so that nothing is saved while the other process begins
    slow = endpoint.on("Scan", after=3).delay(60).forever()
    plain = [option for option in command(bucket, "--quiet") if option not in {"--output", "d.jsonl"}]
    with cli.start(*plain) as process:
        wait_until(lambda: endpoint.count("Scan") > 3)
        slow.wait = 0
        taken = elsewhere(*plain)
        first = ended(process)
    assert (taken.code, taken.summary["complete"], taken.summary["missing"]) == (1, True, 10)
    assert (first.code, first.summary["complete"]) == (3, False)
    place = f"s3://{bucket}/a b/../nightly"
    assert first.stderr.splitlines()[-1] == f"Error: Another process is working on the job in {place}."
    seen = json.loads(cli("jobs", "show", place, "--json").stdout)
    assert (seen["state"], seen["runs"], seen["counts"]["missing"]) == ("done", 2, 10)


def test_a_bucket_that_is_not_there_is_one_sentence(cli: Cli, endpoint: ScriptedDynamo) -> None:
    drifted(endpoint)
    for ran in (
        cli(*command("no-such-bucket-anywhere", "--quiet")),
        cli("jobs", "show", "s3://no-such-bucket-anywhere/x"),
    ):
        assert (ran.code, ran.stdout) == (3, "")
        assert "no S3 bucket" in ran.sentence
    assert endpoint.calls == []
