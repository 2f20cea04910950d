"""Hostile files and names of files: nothing in them steers a terminal, and none leads out of its folder."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

import pytest

from asyncrep.errors import UsageError
from asyncrep.jobs.place import job_place
from tests.support.hostile import HOSTILE, ODD_FILE, STEERING, check, files, steers
from tests.support.scenario import NAME, PRIMARY, REPLICA, item, scene, session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.support.cli import Cli
    from tests.support.scripted import ScriptedDynamo

PAIR = (f"{PRIMARY}/{NAME}", f"{REPLICA}/{NAME}")
NOW = ("--settle", "0")


# ── What files hold ─────────────────────────────────────────────────────────────────────────────────


def spoilt(value: Any) -> Iterator[Any]:
    """A value of JSON with something hostile in one place, at any depth."""
    yield HOSTILE
    yield {HOSTILE: HOSTILE}
    if isinstance(value, dict):
        yield {HOSTILE: 1, **value}
        for name, member in value.items():
            yield from ({**value, name: other} for other in spoilt(member))


def spoilt_files(path: Path, places: Iterable[int]) -> list[str]:
    """Copies of a file of JSON lines, each with one line that is spoilt: their names, which are odd as well."""
    lines = path.read_bytes().split(b"\n")
    names: list[str] = []
    for place in places:
        line = lines[place]
        others = [json.dumps(each).encode() for each in spoilt(json.loads(line))]
        for other in (*others, HOSTILE.encode(), line + HOSTILE.encode(), line[: len(line) // 2]):
            names.append(f"{len(names)} of {path.name}{ODD_FILE}")
            (path.parent / names[-1]).write_bytes(b"\n".join([*lines[:place], other, *lines[place + 1 :]]))
    return names


def test_hostile_stored_diffs_are_refused_or_told_in_words(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a", v=1), item("b", v=2)], [item("b")])
    assert cli("diff-tables", *PAIR, *NOW, "--output", "d.jsonl").code == 1
    names = spoilt_files(cli.folder / "d.jsonl", (0, 1))[::2]
    runs = cli.each(*(("repair", name, *PAIR, *NOW, "--dry-run") for name in names))
    for ran in runs:
        check(ran, 0, 1, 2)
    assert 2 in {ran.code for ran in runs}


def test_hostile_journals_are_refused_or_told_in_words(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a", v=1), item("b", v=2)], [item("b")])
    assert cli("diff-tables", *PAIR, *NOW, "--repair", "--journal", "j.jsonl").code == 0
    assert cli("undo", "j.jsonl", "--journal", "u.jsonl").code == 0
    names = [*spoilt_files(cli.folder / "j.jsonl", (0, 1, 2)), *spoilt_files(cli.folder / "u.jsonl", (0,))]
    before = files(cli.folder)
    key = '{"id":"b"}'
    runs = cli.each(*(("undo", name, "--dry-run") for name in names))
    runs += cli.each(*(("explain", *PAIR, key, *NOW, "--journal", name) for name in names[::5]))
    for ran in runs:
        check(ran)
    assert {0, 2} <= {ran.code for ran in runs}
    assert files(cli.folder) == before


def test_hostile_states_of_jobs_are_told_in_words(cli: Cli, endpoint: ScriptedDynamo) -> None:
    scene(endpoint, [item("a", v=1), item("b", v=2)], [item("b")])
    jobs = cli.folder / "state" / "jobs"
    assert cli("diff-tables", *PAIR, *NOW, "--repair", "--job", "j").code == 0
    state = json.loads((jobs / "j" / "state.json").read_bytes())
    for number, other in enumerate((*spoilt(state), {**state, "parts": {"aside": ["../../../beside"]}})):
        folder = jobs / f"{number}{ODD_FILE}"
        folder.mkdir()
        (folder / "state.json").write_text(json.dumps(other))
        (folder / ODD_FILE).touch()
    (cli.folder / "beside").touch()
    names = sorted(f"{jobs}/{each.name}" for each in jobs.iterdir())
    before = files(cli.folder)
    runs = cli.each(("jobs",), ("jobs", "--json"), ("jobs", "merge", *names[:5], "--json"))
    runs += cli.each(*(("jobs", "show", name) for name in names[::3]))
    runs += cli.each(*(("diff-tables", *PAIR, *NOW, "--repair", "--job", name) for name in names[1::10]))
    runs += cli.each(
        ("jobs", "remove", "--done", "--with-journal"), *(("jobs", "remove", name) for name in names)
    )
    for ran in runs:
        check(ran)
    told = {each["name"] for each in json.loads(runs[1].stdout)}
    assert told == {name.removeprefix(f"{jobs}/") for name in names}
    gone = before - files(cli.folder)
    assert gone
    assert all(each.startswith("state/jobs/") for each in gone)
    assert not {each for each in gone if each.endswith(f"/{ODD_FILE}")}  # nothing that is none of a job's
    assert (cli.folder / "beside").exists()
    code, screen = cli.on_terminal("jobs", columns=120)
    assert (code, steers(screen.raw, terminal=True)) == (0, set())


# ── Names of files ──────────────────────────────────────────────────────────────────────────────────


def test_odd_files_are_made_where_they_were_named_and_nowhere_else(
    cli: Cli, endpoint: ScriptedDynamo
) -> None:
    scene(endpoint, [item("a", v=1), item("b", v=2)], [item("b")])
    (cli.folder / "in").mkdir()
    for number, name in enumerate((ODD_FILE, "..%2fx", "$HOME", "'\"`id`", "x" * 250)):
        before = files(cli.folder)
        output, combined, journal = (f"./in/../{kind}{number}{name[:200]}" for kind in "ocj")
        job = f"./in/../b{number}{name}"
        ran = cli(
            "diff-tables", *PAIR, *NOW, "--repair", "--dry-run", "--output", output, "--combined", combined, "--job", job
        )  # fmt: skip
        check(ran, 1)
        check(cli("repair", output, *PAIR, *NOW, "--journal", journal), 0)
        undone = cli("undo", journal, "--journal", f"{journal}2")
        check(undone, 0)
        made = {each.removeprefix("in/../") for each in files(cli.folder) - before}
        assert {each.split("/")[0] for each in made} == {
            each.removeprefix("./in/../") for each in (output, combined, journal, f"{journal}2", job)
        }


@pytest.mark.parametrize(
    "name",
    ["..", ".", "...", ".hidden", "-rf", "a\nb", "a\0b", "x" * 101, "", " ", "ä", "\x1b[2J", "a b", "$HOME", "~", "C:x", "a\\b"],
    ids=ascii,
)  # fmt: skip
def test_a_name_of_a_job_cannot_leave_its_folder(cli: Cli, name: str) -> None:
    if "\0" in name:
        with pytest.raises(UsageError):
            job_place(name)
        return
    runs = cli.each(
        ("diff-tables", *PAIR, *NOW, f"--job={name}"),
        *(("jobs", command, "--", name) for command in ("show", "remove")),
    )
    for ran in runs:
        check(ran, 2)
        assert "is not the name of a job" in ran.stderr
    assert files(cli.folder) == set()


@pytest.mark.parametrize(
    "prefix",
    [
        "a/../../b",
        "\x9b\u202e\u2028 [red]",
        *(
            pytest.param(prefix, marks=pytest.mark.long)
            for prefix in ("..", "x/./y//z", "%2e%2e/%0a", "?a=b#c&d", "+ *$~'")
        ),
    ],
    ids=ascii,
)
async def test_a_prefix_in_s3_is_taken_as_it_is(
    cli: Cli, endpoint: ScriptedDynamo, moto_url: str, prefix: str
) -> None:
    scene(endpoint, [item("a", v=1)])
    cli.environment |= {"AWS_ENDPOINT_URL_S3": moto_url, "AWS_REGION": "us-east-1"}
    bucket = f"bucket-{uuid.uuid4().hex[:12]}"
    journal, job = (f"s3://{bucket}/{prefix}/{kind}" for kind in ("journal", "job"))
    async with session().client("s3", region_name="us-east-1", endpoint_url=moto_url) as s3:
        await s3.create_bucket(Bucket=bucket)
        await s3.put_object(Bucket=bucket, Key="b", Body=b"beside")
        for ran in cli.each(
            ("diff-tables", *PAIR, *NOW, "--repair", "--job", job, "--journal", journal),
            ("jobs", "show", job),
            ("explain", *PAIR, '{"id":"a"}', *NOW, "--journal", journal),
            ("undo", journal, "--journal", f"{journal}2"),
        ):
            check(ran, 0)
        answer = await s3.list_objects_v2(Bucket=bucket, EncodingType="url")
        found = {unquote_plus(each["Key"]) for each in answer["Contents"]} - {"b"}
        check(cli("jobs", "remove", job), 0)
        kept = await s3.list_objects_v2(Bucket=bucket)
    assert {each.removeprefix(f"{prefix}/").split("/")[0] for each in found} == {"journal", "journal2", "job"}
    assert "b" in {each["Key"] for each in kept["Contents"]}
    assert {each.split("/")[0] for each in files(cli.folder)} <= {"state"}


def test_control_characters_in_a_prefix_in_s3_reach_nobody_raw(
    cli: Cli, endpoint: ScriptedDynamo, moto_url: str
) -> None:
    scene(endpoint, [item("a", v=1)])
    cli.environment |= {"AWS_ENDPOINT_URL_S3": moto_url, "AWS_REGION": "us-east-1"}
    for place in (f"s3://no-such-bucket/{HOSTILE}", f"s3://{HOSTILE}/x", f"s3://bucket{STEERING}/x"):
        for ran in cli.each(
            ("diff-tables", *PAIR, *NOW, "--repair", "--journal", place),
            ("diff-tables", *PAIR, *NOW, "--job", place),
            ("jobs", "show", place),
            ("jobs", "remove", place),
            ("undo", place),
            ("explain", *PAIR, '{"id":"a"}', *NOW, "--journal", place),
        ):
            check(ran, 2, 3)
    assert {each.split("/")[0] for each in files(cli.folder)} <= {"state"}
