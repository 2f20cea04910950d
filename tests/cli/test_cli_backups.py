"""``backups``: what is told of backups, what a check finds, and what is removed; exit codes and terminals."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.buckets import bucket_on
from tests.support.cli import Cli
from tests.support.made_backups import DAY, dump, names, snapshot, upload, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.buckets import Bucket

KEPT = Path("kept")
DAYS = {f"2026010{day}T030000Z-00000{day}": DAY.replace(day=day) for day in range(1, 6)}

SIZE = sum(len(stored) for name, stored in dump("any").items() if "manifest" not in name)


@pytest.fixture
def local(tmp_path: Path) -> Cli:
    """The command line, in a folder with a place of five nightly dumps, and with nothing of AWS."""
    for name, begun in DAYS.items():
        write(tmp_path / KEPT, dump(name, begun=begun))
    return Cli(tmp_path, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})


@pytest.fixture
def bucket(moto_url: str) -> Iterator[Bucket]:
    with bucket_on(moto_url) as bucket:
        yield bucket


def left(cli: Cli) -> set[str]:
    """The dumps of which anything is left."""
    return {name.partition("/")[0] for name in names(cli.folder / KEPT)}


# ── list


def test_backups_are_listed_for_people_and_for_programs(local: Cli) -> None:
    write(local.folder / KEPT, snapshot("orders.gz") | {"notes.txt": b""})
    people, programs, none = local.each(
        ("backups", "list", "kept"), ("backups", "list", "kept", "--json"), ("backups", "list", "nowhere")
    )
    assert [people.code, programs.code, none.code] == [0, 0, 0]
    rows = [line.split() for line in people.stdout.splitlines() if line.startswith("2026")]
    assert rows == [
        [name, f"{begun:%Y-%m-%d}", "03:00", "20", f"{SIZE}", "B", "whole"]
        for name, begun in reversed(DAYS.items())
    ]
    assert "us-east-1/orders of 123456789012:" in people.stdout
    assert none.stdout == "There are no backups in nowhere.\n"
    told = {each["name"]: each for each in programs.summary["backups"]}
    assert told.keys() == {*DAYS, "orders.gz"}
    assert told["orders.gz"] == {
        "name": "orders.gz", "kind": "snapshot", "status": "whole", "source": "s3://kept/incr/orders",
        "begun": "2026-01-02T03:00:00Z", "ended": "2026-01-02T03:00:00Z", "items": 10,
        "stored_bytes": told["orders.gz"]["stored_bytes"], "objects": 1, "strangers": 0, "verified": None, "problem": "",
    }  # fmt: skip


@pytest.mark.parametrize("columns", [40, 80])
def test_a_list_fits_the_terminal(local: Cli, columns: int) -> None:
    write(local.folder / KEPT, dump("a-name-that-somebody-gave", begun=DAY, table="customers"))
    code, screen = local.on_terminal("backups", "list", "kept", columns=columns)
    assert code == 0
    assert max(map(len, screen.lines)) <= columns
    assert not re.search("…", screen.text)
    for name in DAYS:
        assert name in screen.text


def test_names_cannot_steer_a_terminal(local: Cli) -> None:
    hostile = dump("x", table="orders")
    manifest = json.loads(hostile["x/manifest.json"])
    manifest["table"]["arn"] = "\x1b[2Jgone"
    write(local.folder / KEPT, {**hostile, "x/manifest.json": json.dumps(manifest).encode()})
    write(local.folder / KEPT, {f"\x1b]0;{name}": stored for name, stored in dump("y").items()})
    for ran in local.each(
        ("backups", "list", "kept"),
        ("backups", "list", "kept", "--json"),
        ("backups", "verify", "kept"),
        ("backups", "prune", "kept", "--keep-last", "1"),
    ):
        assert ran.code == 0, ran
        assert "\x1b" not in ran.stdout + ran.stderr


# ── verify


def test_what_is_sound_is_told_and_listed_as_verified(local: Cli) -> None:
    first, *_ = DAYS
    one, newest, everything, listed = local.each(
        ("backups", "verify", "kept", first, "--json"),
        ("backups", "verify", "kept", "--newest"),
        ("backups", "verify", "kept", "--quiet"),
        ("backups", "list", "kept", "--json"),
    )
    assert [one.code, newest.code, everything.code] == [0, 0, 0]
    assert {name: one.summary[name] for name in ("sound", "damaged", "items", "complete")} == {
        "sound": 1, "damaged": 0, "items": 20, "complete": True,
    }  # fmt: skip
    assert newest.stdout.startswith(
        f"{max(DAYS)}: sound, 20 items in 2 objects, {SIZE} B\nVerified 1 backup in kept"
    )
    assert "verify: 20 items" in newest.stderr
    assert (everything.stdout, everything.stderr) == ("", "")
    assert {each["status"] for each in listed.summary["backups"]} == {"verified"}


def test_damage_is_exit_code_1_and_a_sentence_for_each(local: Cli) -> None:
    first, second, *_ = DAYS
    (local.folder / KEPT / first / "0").unlink()
    (local.folder / KEPT / second / "1").write_bytes(b"no gzip at all")
    ran, told = local.each(("backups", "verify", "kept"), ("backups", "verify", "kept", "--json"))
    assert (ran.code, told.code) == (1, 1)
    assert f"kept/{first}/0 is missing." in ran.stdout
    assert f"kept/{second}/1 has 14 bytes; its manifest says " in ran.stdout
    assert ran.stdout.endswith("Of 5 backups in kept, 2 are not as written.\n")
    assert [told.summary[name] for name in ("sound", "damaged", "failed")] == [3, 2, 0]
    assert told.summary["backups"][0]["problems"] == [f"kept/{first}/0 is missing."]


def test_what_cannot_be_checked_is_exit_code_3(local: Cli) -> None:
    first, *_ = DAYS
    for name in ("manifest.json", "0.manifest.json", "1.manifest.json"):
        (local.folder / KEPT / first / name).unlink()
    ran = local("backups", "verify", "kept")
    assert ran.code == 3
    assert ran.stdout.endswith("Of 5 backups in kept, 1 could not be checked.\n")


def test_what_may_still_be_written_is_passed_over_unless_it_is_named(local: Cli) -> None:
    first, *_ = DAYS
    (local.folder / KEPT / first / "manifest.json").unlink()
    everything, one = local.each(("backups", "verify", "kept"), ("backups", "verify", "kept", first))
    assert (everything.code, one.code) == (0, 1)
    assert f"Note: {first} is passed over: it may still be written." in everything.stderr
    assert (
        f"kept/{first} is incomplete: All 2 segments are whole, but manifest.json is missing." in one.stdout
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("verify", "kept", "none-such"), "There is no backup 'none-such' in kept."),
        (("verify", "nowhere"), "There is no backup to verify in nowhere."),
        (("verify", "kept", "incr"), "'incr' is an incremental folder, which has no manifest to be held against."),
        (("verify", "kept", "x", "--newest"), "--newest chooses the backups itself: name none."),
        (("prune", "kept"), "Say what is to be kept: --keep-last, --keep-daily, --keep-weekly or --keep-monthly, above zero."),
        (("prune", "kept", "--keep-daily", "-1"), "--keep-daily must be zero or more, not -1."),
        (("list", "kept", "--s3-profile", "a"), "--s3-profile has an effect only on what is kept in S3, and nothing is."),
        (("verify", "kept/readme"), "kept/readme is a file: name the place that it lies in, as kept, and then readme."),
        (("list", "s3:/kept"), '"s3:/kept" is not a place in S3; write it as s3://BUCKET/PREFIX.'),
        (("list", "s3://kept", "--bucket-owner", "me"), 'The bucket owner must be an account of 12 digits, not "me".'),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_a_sentence(
    local: Cli, arguments: tuple[str, ...], sentence: str
) -> None:
    write(local.folder / KEPT, {"incr/" + "0a" * 32: b"{}", "readme": b""})
    ran = local("backups", *arguments)
    assert (ran.code, ran.stdout, ran.sentence) == (2, "", sentence)


# ── prune


def test_without_yes_nothing_is_removed_and_everything_is_told(local: Cli) -> None:
    before = names(local.folder / KEPT)
    people, programs = local.each(
        ("backups", "prune", "kept", "--keep-last", "2"),
        ("backups", "prune", "kept", "--keep-last", "2", "--json"),
    )
    assert (people.code, programs.code) == (0, 0)
    assert names(local.folder / KEPT) == before
    rows = [
        line.split(maxsplit=6) for line in people.stdout.splitlines() if line.startswith(("keep", "remove"))
    ]
    assert [(row[0], row[1], row[-1].strip()) for row in rows] == [
        (*("keep", name, "last"),) if name in sorted(DAYS)[-2:] else ("remove", name, "no rule keeps it")
        for name in reversed(DAYS)
    ]
    assert people.stdout.endswith(f"Would remove 3 backups, {3 * SIZE} B; --yes does it.\n")
    assert "None of these was verified" in people.stdout
    told = programs.summary
    assert {name: told[name] for name in ("dry_run", "kept", "removed")} == {
        "dry_run": True,
        "kept": 2,
        "removed": 3,
    }
    assert [each["keeps"] for each in told["backups"]] == [True, True, False, False, False]


def test_with_yes_what_was_told_is_removed_and_the_rest_stays(local: Cli) -> None:
    first, second, *_ = DAYS
    write(local.folder / KEPT, {"notes.txt": b"", f"{first}/notes.txt": b""})
    assert local("backups", "verify", "kept", second, "-q").code == 0
    pruned, again = local.each(*[("backups", "prune", "kept", "--keep-daily", "2", "--yes")] * 2)
    assert (pruned.code, again.code) == (0, 0)
    assert left(local) == {"notes.txt", first, second, *sorted(DAYS)[-2:]}
    assert names(local.folder / KEPT / first) == {"notes.txt"}
    assert f"Removed 2 backups, {2 * SIZE} B." in pruned.stdout
    assert "Left alone: 1 object beside them, no part of any backup." in pruned.stdout
    assert "newest verified" in pruned.stdout
    assert "Nothing is to be removed." in again.stdout


def test_an_empty_place_is_nothing_to_prune(local: Cli) -> None:
    people, quiet = local.each(
        ("backups", "prune", "nowhere", "--keep-last", "1", "--yes"),
        ("backups", "prune", "kept", "--keep-last", "9", "--yes", "-q"),
    )
    assert (people.code, people.stdout) == (0, "There are no backups in nowhere.\n")
    assert (quiet.code, quiet.stdout, quiet.stderr) == (0, "", "")


def test_a_removal_shows_on_a_narrow_terminal_what_goes(local: Cli) -> None:
    code, screen = local.on_terminal("backups", "prune", "kept", "--keep-last", "1", columns=80)
    assert code == 0
    assert max(map(len, screen.lines)) <= 80
    assert len([line for line in screen.lines if line.startswith("remove")]) == 4


# ── S3


def test_all_of_it_works_in_s3(tmp_path: Path, bucket: Bucket, moto_url: str) -> None:
    cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url, "AWS_REGION": "us-east-1"})
    now = datetime.now(UTC)
    upload(bucket, "kept", dump("new", begun=now) | dump("old", begun=now - timedelta(days=1)))
    place = f"s3://{bucket.name}/kept"
    listed, verified, pruned = cli.each(
        ("backups", "list", place, "--json", "--bucket-owner", "123456789012"),
        ("backups", "verify", place, "--newest", "--json"),
        ("backups", "prune", place, "--keep-last", "1", "--yes", "--json"),
    )
    assert [each["name"] for each in listed.summary["backups"]] == ["new", "old"]
    assert (verified.code, verified.summary["sound"]) == (0, 1)
    assert [each["status"] for each in pruned.summary["backups"]] == ["verified", "whole"]
    assert {name.split("/")[1] for name in bucket.names()} == {"new"}


def test_a_bucket_that_is_not_there_is_one_sentence(tmp_path: Path, moto_url: str) -> None:
    cli = Cli(tmp_path, {"AWS_ENDPOINT_URL": moto_url, "AWS_REGION": "us-east-1"})
    for ran in cli.each(
        ("backups", "list", "s3://there-is-none"),
        ("backups", "verify", "s3://there-is-none"),
        ("backups", "prune", "s3://there-is-none", "--keep-last", "1", "--yes"),
    ):
        assert (ran.code, ran.stdout) == (3, "")
        assert "there-is-none" in ran.sentence
