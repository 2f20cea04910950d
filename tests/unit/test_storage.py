"""Where files are kept: S3 places and paths as people write them, and folders that are their owner's."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.cli.journals import chosen_journal, undo_command
from asyncrep.errors import LocationError
from asyncrep.jobs.folders import make_private_folder, state_folder
from asyncrep.location import S3Place, parse_storage
from tests.support.strategies import thoroughly

PREFIXES = st.text(st.characters(exclude_categories=["Cs"]))


@thoroughly
@given(PREFIXES)
def test_whatever_is_in_a_prefix_stays_but_for_slashes_at_its_ends(prefix: str) -> None:
    place = S3Place.parse(f"s3://bucket/{prefix}")
    assert place == S3Place("bucket", prefix.strip("/"))
    assert S3Place.parse(str(place)) == place
    assert not place.under("name").startswith("/")
    assert place.under("name") == (f"{place.prefix}/name" if place.prefix else "name")


@pytest.mark.parametrize("text", ["s3://bucket", "s3://bucket/", "S3://bucket//"])
def test_a_prefix_may_be_missing(text: str) -> None:
    assert S3Place.parse(text) == S3Place("bucket")
    assert str(S3Place.parse(text)) == "s3://bucket"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://Bucket/x", '"Bucket" in "s3://Bucket/x" is not a bucket name'),
        ("s3://ab/x", "is not a bucket name"),
        ("s3://a..b/x", "is not a bucket name"),
        ("s3://-ab/x", "is not a bucket name"),
        ("s3://a\nbc/x", "is not a bucket name"),
        ("http://bucket/x", "is no place for a file"),
        ("file://host/x", "is not a local file"),
        ("", "is not a path"),
        ("a\0b", "is not a path"),
    ],
)
def test_what_is_no_place_is_refused_in_one_sentence(text: str, why: str) -> None:
    with pytest.raises(LocationError) as refused:
        parse_storage(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("j.jsonl", Path("j.jsonl")),
        ("/a/b", Path("/a/b")),
        ("file:///a/b%20c", Path("/a/b c")),
        ("s3://bucket/a", S3Place("bucket", "a")),
        ("a:b", Path("a:b")),
    ],
)
def test_paths_and_places_are_told_apart(text: str, expected: Path | S3Place) -> None:
    assert parse_storage(text) == expected


def test_the_state_folder_is_named_by_the_environment_or_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_folder({"ASYNCREP_STATE": "/x/y"}) == Path("/x/y")
    monkeypatch.setenv("XDG_STATE_HOME", "/s")
    assert state_folder({}).name == "asyncrep"


_NOBODY = """
import pwd
from asyncrep.jobs.folders import state_folder

def nobody(number):
    raise KeyError(number)

pwd.getpwuid = nobody  # a user whom the system does not know, as in many containers
try:
    state_folder({})
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_user_without_a_home_is_told_what_to_set() -> None:
    environment = {"PATH": os.environ["PATH"]}
    ran = subprocess.run(
        [sys.executable, "-c", _NOBODY], env=environment, capture_output=True, text=True, check=False
    )
    assert ran.stdout == (
        "UsageError There is no home folder for journals and jobs: set ASYNCREP_STATE to a folder.\n"
    ), ran.stderr


def test_folders_are_made_for_their_owner_and_those_that_are_there_stay(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private_folder(tmp_path / "a" / "b")
    make_private_folder(tmp_path / "a" / "b")
    modes = [
        stat.S_IMODE(folder.stat().st_mode) for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")
    ]
    assert modes == [0o755, 0o700, 0o700]


@pytest.mark.parametrize("table", ["orders", "../../etc/passwd", "a\n\x1b[2Jb", "x" * 300])
def test_no_table_s_name_leads_out_of_the_folder_of_journals(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASYNCREP_STATE", str(tmp_path))
    chosen = Path(chosen_journal(None, table))
    assert chosen.parent == tmp_path / "journals"
    assert len(chosen.name) < 200
    assert chosen_journal(None, table) != str(chosen)


def test_the_command_that_takes_back_is_as_a_shell_wants_it() -> None:
    assert undo_command("it's; here") == "asyncrep undo 'it'\"'\"'s; here'"
