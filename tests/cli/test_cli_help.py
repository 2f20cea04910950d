"""What the help says, that it says all of it, and that it is quick."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main

from asyncrep.cli.app import app
from asyncrep.version import __version__
from tests.support.cli import Cli

if TYPE_CHECKING:
    from tests.support.cli import Ran

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined] # a group has them
MUST_STAY_OUT = {
    "aioboto3", "aiobotocore", "aiohttp", "boto3", "botocore", "moto", "pydantic", "uvloop",
}  # fmt: skip
AWS_CLI = {"--capabilities", "--parameter-overrides", "--region", "--stack-name", "--template-file"}
"""Options of `aws cloudformation deploy`, which examples show as well."""
_MODULES_OF = """
import json, sys
from asyncrep.cli.app import main
sys.argv = ["asyncrep", *sys.argv[1:]]
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def helps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    """The help of every command, on 100 columns, without colours."""
    cli = Cli(tmp_path_factory.mktemp("help"), {"COLUMNS": "100", "TERM": "dumb"})
    return dict(zip(COMMANDS, cli.each(*((name, "--help") for name in COMMANDS)), strict=True))


def flat(text: str) -> str:
    """Text without boxes and line breaks."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


def own_options_of(command: Any) -> set[str]:
    return {name for each in command.params for name in each.opts if name.startswith("--")} | {"--help"}


def options_of(command: Any) -> set[str]:
    """The options of a command and of the commands below it."""
    return own_options_of(command).union(*map(options_of, getattr(command, "commands", {}).values()))


def options_with(name: str) -> set[str]:
    """The options that may stand behind a command; behind iam-policy stands another command."""
    commands = COMMANDS.values() if name == "iam-policy" else [COMMANDS[name]]
    return set().union(*map(options_of, commands))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_shows_every_option_with_its_words(helps: dict[str, Ran], name: str) -> None:
    shown = helps[name]
    assert (shown.code, shown.stderr) == (0, "")
    for option in own_options_of(COMMANDS[name]):
        assert re.search(rf"{option} .*[a-z]", shown.stdout), option
    for parameter in COMMANDS[name].params:
        assert parameter.help, parameter.name
        first = re.sub(r"\[/?[a-z]+\]", "", parameter.help).split(".")[0]
        assert first.split()[0] in shown.stdout, parameter.name


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_has_an_example_that_calls_the_command(helps: dict[str, Ran], name: str) -> None:
    assert re.search(rf"Examples?\b.*asyncrep {name}\b", flat(helps[name].stdout))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_examples_exist(helps: dict[str, Ran], name: str) -> None:
    used = set(re.findall(r"--[a-z][a-z-]+", helps[name].stdout)) - AWS_CLI
    assert used <= options_with(name)


def test_the_list_of_commands_names_each(tmp_path: Path) -> None:
    ran = Cli(tmp_path, {"COLUMNS": "80"})("--help")
    assert ran.code == 0
    assert max(map(len, ran.stdout.splitlines())) <= 80
    for name in COMMANDS:
        assert re.search(rf"│ {name} +[A-Z]", ran.stdout)


def test_the_version(tmp_path: Path) -> None:
    ran = Cli(tmp_path)("--version")
    assert (ran.code, ran.stdout) == (0, f"asyncrep {__version__}\n")


@pytest.mark.parametrize("arguments", [(), ("no-such-command",)])
def test_no_command_is_wrong_usage(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert Cli(tmp_path)(*arguments).code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_the_readme_names_every_command(name: str) -> None:
    assert f"`asyncrep {name}" in README


def test_the_options_of_the_readme_exist() -> None:
    known = set().union(*map(options_of, COMMANDS.values()))
    spans = re.compile(r"`[^`\n]*`")
    text = spans.sub(lambda span: "" if re.search("npm|pip|make", span[0]) else span[0], README)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known | AWS_CLI


def test_the_commands_of_the_readme_are_spelled_with_their_own_options() -> None:
    for name, rest in re.findall(r"asyncrep ([a-z]+(?:-[a-z]+)?)\b([^`\n]*)", README):
        if name in COMMANDS:
            assert set(re.findall(r"--[a-z][a-z-]+", rest)) <= options_with(name), name


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("diff-tables", "--help"), ("--version",), ("diff-tables", "nowhere", "nowhere")],
)
def test_starting_up_imports_nothing_it_does_not_need(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MODULES_OF, *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    modules = set(json.loads(done.stderr.splitlines()[-1]))
    assert modules & MUST_STAY_OUT == set()
    assert "rich.progress" not in modules
