"""``asyncrep template``: what it prints and writes, and that its files are where the command looks for them."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import asyncrep
from asyncrep.cli.template import TEMPLATES, read_template
from tests.support.cli import Cli

PACKAGE = Path(asyncrep.__file__).parent
_FROM_ZIP = """
import sys
sys.path.insert(0, sys.argv[1])
from asyncrep.cli import app
assert app.__file__.startswith(sys.argv[1]), app.__file__
sys.argv = ["asyncrep", *sys.argv[2:]]
app.main()
"""


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_is_printed_as_it_is(cli: Cli, name: str) -> None:
    ran = cli("template", name)
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout == (PACKAGE / "templates" / f"{name}.yaml").read_text(encoding="utf-8")
    assert ran.stdout.startswith("AWSTemplateFormatVersion:")


def test_without_a_name_they_are_listed_with_a_line_each(cli: Cli) -> None:
    ran = cli("template")
    assert (ran.code, ran.stderr) == (0, "")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == list(TEMPLATES)
    assert all(line.endswith(".") for line in ran.stdout.splitlines())


def test_there_is_no_template_that_is_not_listed() -> None:
    assert {each.name for each in (PACKAGE / "templates").iterdir()} == {f"{name}.yaml" for name in TEMPLATES}


@pytest.mark.parametrize("name", ["no-such", "../pyproject", "replicator.yaml", "", "\x1b[2J"])
def test_an_unknown_name_is_wrong_usage_and_tells_the_known_ones(cli: Cli, name: str) -> None:
    ran = cli("template", name)
    assert (ran.code, ran.stdout) == (2, "")
    assert ran.sentence.endswith(f"it is one of {', '.join(TEMPLATES)}.")
    assert "\x1b" not in ran.stderr


def test_a_file_is_written_once_and_never_over_another(cli: Cli) -> None:
    ran = cli("template", "worker", "--output", "worker.yaml")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "", "")
    path = cli.folder / "worker.yaml"
    assert path.read_text(encoding="utf-8") == read_template("worker")
    path.write_text("edited", encoding="utf-8")
    again = cli("template", "worker", "--output", "worker.yaml")
    assert again.code == 2
    assert "is there already" in again.sentence
    assert path.read_text(encoding="utf-8") == "edited"


def test_a_dash_is_stdout(cli: Cli) -> None:
    ran = cli("template", "mirror", "--output", "-")
    assert (ran.code, ran.stdout) == (0, read_template("mirror"))
    assert list(cli.folder.glob("*")) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("worker", "--output", "no/such/folder"),
            "Cannot write to no/such/folder: No such file or directory.",
        ),
        (("--output", "list.txt"), "--output needs the NAME of a template."),
    ],
)
def test_what_cannot_be_written_is_wrong_usage(cli: Cli, arguments: tuple[str, ...], sentence: str) -> None:
    ran = cli("template", *arguments)
    assert (ran.code, ran.sentence) == (2, sentence)


def test_templates_are_found_in_a_zip_file(tmp_path: Path) -> None:
    packed = tmp_path / "asyncrep.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in PACKAGE.rglob("*"):
            if path.suffix in {".py", ".yaml", ".toml"}:
                archive.write(path, path.relative_to(PACKAGE.parent))
    done = subprocess.run(
        [sys.executable, "-c", _FROM_ZIP, str(packed), "template", "schedule"],
        cwd=tmp_path, env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == read_template("schedule")
