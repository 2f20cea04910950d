"""The embedded AWS: the demo's story, the sandbox's invitation, and checks of its real data."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

import pytest

from asyncrep.sandbox import EmbeddedAws, seed
from tests.support.cli import Cli, ended, group_is_gone, json_lines

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

TABLES = ("us-east-1/airports", "eu-west-1/airports")


@pytest.fixture(scope="module")
def aws() -> Iterator[EmbeddedAws]:
    """An embedded AWS with 200 airports and their drifted replica; tests only read."""
    with EmbeddedAws() as aws:
        seed(aws, airports=200)
        yield aws


@pytest.fixture
def real(tmp_path: Path, aws: EmbeddedAws) -> Cli:
    """The command line, turned towards the embedded AWS."""
    return Cli(tmp_path, dict(aws.environment))


@pytest.fixture
def plain(tmp_path: Path) -> Cli:
    """The command line with settings that would lead elsewhere."""
    return Cli(tmp_path, {"AWS_PROFILE": "nobody", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"})


def test_exactly_the_made_drift_is_found(real: Cli) -> None:
    ran = real("diff-tables", *TABLES, "--settle", "0", "--json", "--output", "d.jsonl")
    assert ran.code == 1
    drift = ("missing", "different", "extraneous")
    assert [ran.summary[kind] for kind in drift] == [15, 12, 7]
    assert (ran.summary["compared"], ran.summary["complete"]) == (207, True)
    found = [line["kind"] for line in json_lines((real.folder / "d.jsonl").read_text())]
    assert [found.count(kind) for kind in drift] == [15, 12, 7]


def test_the_demo_tells_the_whole_story(plain: Cli) -> None:
    ran = plain("demo", "--airports", "200")
    assert ran.code == 0
    chapters = re.findall(r"^(\d)\. (.+?) ─", ran.stdout, re.MULTILINE)
    assert [number for number, _ in chapters] == ["1", "2", "3", "4", "5", "6"]
    story = [
        "us-east-1/airports holds 200 items",
        "The replica is not right: 34 discrepancies remain",
        "exit code 1",
        "34  repaired and verified",
        "The replica is right: every discrepancy was repaired and verified.",
        "exit code 0",
        "The replica is right: no discrepancies.",
        "exit code 0",
        "The backup is whole.",
        "Everything was restored.",
        "The table is as the backup has it: no discrepancies.",
        "exit code 0",
        "$ asyncrep sandbox",
    ]
    places = [ran.stdout.find(story[0])]
    for words in story[1:]:
        places.append(ran.stdout.find(words, places[-1] + 1))
    assert -1 not in places, story[places.index(-1)]
    assert "Traceback" not in ran.stderr


def test_what_cannot_be_started_is_one_sentence(plain: Cli, aws: EmbeddedAws) -> None:
    port = aws.endpoint_url.rpartition(":")[2]
    few, taken, none = plain.each(
        ("demo", "--airports", "5"), ("sandbox", "--port", port), ("sandbox", "--port", "65536")
    )
    assert [few.code, taken.code, none.code] == [2, 2, 2]
    assert few.sentence == "The sample needs at least 200 airports, not 5."
    assert taken.sentence.startswith(f"Cannot listen on 127.0.0.1:{port}: ")
    assert none.sentence.startswith("There is no port 65536")


def invitation(process: subprocess.Popen[str]) -> tuple[list[str], list[str]]:
    """The exports and the commands that a sandbox prints; the last is about the history of a record."""
    assert process.stdout is not None
    exports: list[str] = []
    commands: list[str] = []
    for line in process.stdout:
        assert len(line) <= 81
        if line.startswith("export "):
            exports.append(line)
        elif commands and commands[-1].endswith("\\\n"):
            commands[-1] += line
        elif line.startswith("asyncrep "):
            commands.append(line)
        if commands and "history" in commands[-1] and not commands[-1].endswith("\\\n"):
            break
    return exports, commands


def is_about_backups(command: str) -> bool:
    """Whether a command is one of those that make, verify, restore and prune dumps; that of the drift ends with 1."""
    return "/dumps" in command and "diff-backup" not in command


def test_what_the_sandbox_prints_works_when_pasted(plain: Cli) -> None:
    with plain.start("sandbox", "--airports", "200") as process:
        exports, commands = invitation(process)
        assert len(commands) == 14
        del plain.environment["AWS_PROFILE"]
        [check] = [command for command in commands if "--json" in command]
        ran = plain.shell("".join([*exports, check]))
        assert (ran.code, ran.summary["missing"]) == (1, 15)
        assert len(json_lines((plain.folder / "drift.jsonl").read_text())) == 34
        [record] = [command for command in commands if "diff-record" in command]
        shown = plain.shell("".join([*exports, record]))
        kept = plain.shell(
            "".join([*exports, "set -e\n", *(each for each in commands if is_about_backups(each))])
        )
        process.send_signal(signal.SIGINT)
        over = ended(process)
    assert kept.code == 0, kept
    assert "Verified 1 backup in s3://sandbox/dumps" in kept.stdout
    assert "Everything was restored." in kept.stdout
    assert shown.code in {0, 1}
    assert (over.code, over.stderr.splitlines()[-1]) == (0, "The sandbox is closed.")
    assert over.seconds < 2
    assert group_is_gone(process)
    # An example is to show something.
    assert "Neither side has this record." not in shown.stdout
