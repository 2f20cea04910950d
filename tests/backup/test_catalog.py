"""What is found under a place, and what is said of it without reading any data."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asyncrep.backup.catalog import find_backups
from asyncrep.backup.listed import Verification, verification_bytes
from asyncrep.backup.local import LocalFolder
from asyncrep.backup.places import open_storage
from asyncrep.location import S3Place
from tests.support.made_backups import ARN, DAY, aws_export, dump, names, snapshot, upload, write

if TYPE_CHECKING:
    from pathlib import Path

    from asyncrep.backup.listed import Listed
    from tests.support.buckets import Bucket

ITEM = "0a" * 32


async def found(folder: Path) -> dict[str, Listed]:
    return {each.name: each for each in await find_backups(LocalFolder(folder))}


def everything() -> dict[str, bytes]:
    """A place with a backup of each kind, and much that is none."""
    return {
        **dump("nightly"),
        **dump("0123", table="customers", segments=12),
        **snapshot("orders.gz"),
        **aws_export("01700000000000-abcdef01"),
        **aws_export("01700000000001-abcdef01", since=DAY - timedelta(days=1)),
        f"incr/{ITEM}": b"{}",
        "notes.txt": b"to be kept",
        "nightly-notes.txt": b"before nightly/ in every listing",
        "other/deep/0": b"",
        "empty.gz": b"",
    }


def told(each: Listed) -> tuple[object, ...]:
    return each.kind, each.state, each.source, each.items, len(each.data), each.begun


OF_EVERYTHING = {
    "nightly": ("dump", "whole", ARN.format("orders"), 20, 2, DAY),
    "0123": ("dump", "whole", ARN.format("customers"), 120, 12, DAY),
    "orders.gz": ("snapshot", "whole", "s3://kept/incr/orders", 10, 1, DAY),
    "01700000000000-abcdef01": ("export", "whole", ARN.format("orders"), 20, 2, DAY),
    "01700000000001-abcdef01": ("export", "whole", ARN.format("orders"), 20, 0, DAY),
    "incr": ("folder", "whole", "incr", None, 0, None),
}


async def test_backups_of_every_kind_are_found_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, everything())
    backups = await found(tmp_path)
    assert {name: told(each) for name, each in backups.items()} == OF_EVERYTHING
    assert backups["01700000000001-abcdef01"].continues
    assert not backups["01700000000000-abcdef01"].is_ours


async def test_s3_is_told_of_like_a_folder(bucket: Bucket) -> None:
    upload(bucket, "kept/here", everything())
    upload(bucket, "kept/here2", dump("beside"))
    async with open_storage(S3Place(bucket.name, "kept/here")) as storage:
        backups = await find_backups(storage)
    assert {each.name: told(each) for each in backups} == OF_EVERYTHING
    [nightly] = [each for each in backups if each.name == "nightly"]
    assert nightly.changed is not None
    assert abs(nightly.changed - datetime.now(UTC)) < timedelta(minutes=5)


async def test_there_is_nothing_in_an_empty_place(tmp_path: Path) -> None:
    assert await found(tmp_path) == {}
    assert await found(tmp_path / "not" / "there") == {}


@pytest.mark.parametrize("inside", ["nightly", "AWSDynamoDB/01700000000000-abcdef01"])
async def test_a_place_may_be_a_backup_itself(tmp_path: Path, inside: str) -> None:
    write(tmp_path, dump("nightly") | aws_export("01700000000000-abcdef01"))
    [(name, backup)] = (await found(tmp_path / inside)).items()
    assert (name, backup.folder, backup.items, backup.state) == ("", "", 20, "whole")


async def test_an_incremental_folder_is_told_by_its_first_object_however_many_there_are(
    bucket: Bucket,
) -> None:
    upload(bucket, "kept", {f"incr/{number:064x}": b"{}" for number in range(3)} | dump("nightly"))
    async with open_storage(S3Place(bucket.name, "kept")) as storage:
        assert {each.name: each.kind for each in await find_backups(storage)} == {
            "incr": "folder",
            "nightly": "dump",
        }


# ── States


def without(made: dict[str, bytes], *gone: str) -> dict[str, bytes]:
    return {name: stored for name, stored in made.items() if name not in gone}


@pytest.mark.parametrize(
    ("gone", "state", "problem"),
    [
        ((), "whole", ""),
        (("j/manifest.json", "j/1", "j/1.manifest.json"), "incomplete", "1 of 2 segments are whole."),
        (("j/manifest.json", "j/1.manifest.json"), "incomplete", "1 of 2 segments are whole."),
        (("j/manifest.json",), "incomplete", "All 2 segments are whole, but manifest.json is missing."),
        (("j/1",), "damaged", '1 of 2 objects are missing, "1" among them.'),
        (("j/0", "j/1"), "damaged", '2 of 2 objects are missing, "0" among them.'),
        (("j/manifest.json", "j/0.manifest.json", "j/1.manifest.json"), "unproven", "Nothing tells whether it is whole."),
    ],
)  # fmt: skip
async def test_what_is_missing_tells_the_state_of_a_dump(
    tmp_path: Path, gone: tuple[str, ...], state: str, problem: str
) -> None:
    write(tmp_path, without(dump("j"), *gone))
    [backup] = (await found(tmp_path)).values()
    assert (backup.state, backup.problem) == (state, problem)


async def test_an_object_of_another_size_is_damage(tmp_path: Path) -> None:
    write(tmp_path, dump("j") | snapshot("s.gz"))
    for name in ("j/1", "s.gz"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"\0")
    backups = await found(tmp_path)
    assert backups["j"].problem == '1 of 2 objects are of another size, "1" among them.'
    assert backups["s.gz"].problem == '1 of 1 objects are of another size, "s.gz" among them.'


@pytest.mark.parametrize(
    "document",
    [b"", b"{", b"[]", b'{"asyncrep":"something"}', b"\xff", b'{"asyncrep":"dump","format":99}'],
)
async def test_a_manifest_that_is_none_is_damage_with_a_sentence(tmp_path: Path, document: bytes) -> None:
    made = dump("j") | snapshot("s.gz") | aws_export("e")
    for name in ("j/manifest.json", "s.gz.manifest.json", "AWSDynamoDB/e/manifest-summary.json"):
        made[name] = document
    write(tmp_path, made)
    backups = await found(tmp_path)
    assert [each.state for each in backups.values()] == ["damaged"] * 3
    for name, file in (
        ("j", "j/manifest.json"),
        ("s.gz", "s.gz.manifest.json"),
        ("e", "manifest-summary.json"),
    ):
        assert file in backups[name].problem
        assert backups[name].problem.endswith(".")


@pytest.mark.parametrize("part", ["../k/0", "/etc/passwd", "sub/0", "manifest.json", "00", "1"])
async def test_a_manifest_cannot_claim_what_is_no_segment_of_its_dump(tmp_path: Path, part: str) -> None:
    made = dump("j")
    manifest = json.loads(made["j/manifest.json"])
    manifest["parts"][0]["name"] = part
    write(tmp_path, made | {"j/manifest.json": json.dumps(manifest).encode()})
    backup = (await found(tmp_path))["j"]
    assert backup.state == "damaged"
    assert "names objects that are no segments of a dump" in backup.problem
    assert set(backup.data) == {"0", "1"}


async def test_a_manifest_without_a_time_is_damage(tmp_path: Path) -> None:
    made = dump("j")
    manifest = json.loads(made["j/manifest.json"]) | {"begun": "yesterday"}
    write(tmp_path, made | {"j/manifest.json": json.dumps(manifest).encode()})
    assert "does not tell when the dump was made" in (await found(tmp_path))["j"].problem


async def test_the_manifest_of_a_snapshot_is_about_the_file_beside_it(tmp_path: Path) -> None:
    made = snapshot("a.gz")
    write(tmp_path, {"b.gz": made["a.gz"], "b.gz.manifest.json": made["a.gz.manifest.json"]})
    backup = (await found(tmp_path))["b.gz"]
    assert (backup.state, backup.problem) == (
        "damaged",
        f"{tmp_path}/b.gz.manifest.json is not the manifest of b.gz.",
    )


@pytest.mark.parametrize("gone", ["manifest-summary.json", "manifest-files.json"])
async def test_an_export_without_one_of_its_manifests_is_incomplete(tmp_path: Path, gone: str) -> None:
    write(tmp_path, without(aws_export("e"), f"AWSDynamoDB/e/{gone}"))
    backup = (await found(tmp_path))["e"]
    assert (backup.state, backup.problem) == ("incomplete", f"There is no {gone}.")


# ── What is its own, and what was said of it before


async def test_objects_that_do_not_belong_to_a_dump_are_strangers(tmp_path: Path) -> None:
    write(tmp_path, dump("j") | {"j/notes.txt": b"", "j/7": b"", "j/sub/0": b"", "j/7.manifest.json": b"{}"})
    backup = (await found(tmp_path))["j"]
    assert (backup.state, backup.strangers) == ("whole", 4)
    assert set(backup.data) | set(backup.manifests) == {name.removeprefix("j/") for name in dump("j")}


@pytest.mark.parametrize("name", ["j", "s.gz"])
async def test_a_verification_holds_until_an_object_is_replaced(tmp_path: Path, name: str) -> None:
    write(tmp_path, dump("j") | snapshot("s.gz"))
    before = (await found(tmp_path))[name]
    note = tmp_path / before.folder / before.note
    note.write_bytes(
        verification_bytes(Verification(at="2026-01-03T00:00:00Z", sound=True, objects=before.objects))
    )
    after = (await found(tmp_path))[name]
    assert (before.status, after.status, after.strangers) == ("whole", "verified", 0)
    data = tmp_path / before.folder / before.data[0]
    replaced = data.read_bytes()
    data.unlink()
    data.write_bytes(replaced[:-1] + b"!")
    assert (await found(tmp_path))[name].status == "whole"


@pytest.mark.parametrize("document", [b"", b"{}", b'{"asyncrep":"verification","at":1}', b"\xff"])
async def test_a_verification_that_cannot_be_read_is_none(tmp_path: Path, document: bytes) -> None:
    write(tmp_path, dump("j") | {"j/verification.json": document})
    assert (await found(tmp_path))["j"].status == "whole"


async def test_listing_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path, everything())
    before = names(tmp_path)
    await found(tmp_path)
    assert names(tmp_path) == before
