"""Runs the installed command line as people do: in a process of its own, piped or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.scripted import ScriptedDynamo
from tests.support.threads import in_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SCRIPT = Path(sys.executable).with_name("asyncrep")
PATIENCE_SECONDS = 30.0

_SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")

_ONE_BY_ONE = """
import io, json, os, sys, time
from asyncrep.cli.app import main

ran, stdout = [], sys.stdout
for environment, arguments in json.load(sys.stdin):
    began = time.monotonic()
    os.environ.update(environment)
    sys.argv = ["asyncrep", *arguments]
    streams = sys.stdout, sys.stderr = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    try:
        main()
    except SystemExit as end:
        code = end.code
    for stream in streams:
        stream.flush()
    told = [stream.buffer.getvalue().decode() for stream in streams]
    ran.append([code, *told, time.monotonic() - began])
json.dump(ran, stdout)
stdout.flush()  # nobody else does: the collector is frozen by now
"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended.

    Attributes:
        seconds: how long it took.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """The one JSON object on stdout."""
        [line] = self.stdout.splitlines()
        summary: dict[str, Any] = json.loads(line)
        return summary

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The JSON lines on stdout."""
        return json_lines(self.stdout)

    @property
    def sentence(self) -> str:
        """The one line on stderr that says why it failed; nothing else may be there."""
        assert "Traceback" not in self.stderr
        [line] = self.stderr.splitlines()
        assert line.startswith("Error: "), line
        return line.removeprefix("Error: ")


@dataclass
class Cli:
    """The command line with a folder to work in and an environment of its own.

    Attributes:
        environment: all the variables it sees; tests change them as they like.
        program: what is run, before the arguments.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str | Path, ...] = (SCRIPT,)

    def __post_init__(self) -> None:
        nowhere = str(self.folder / "nowhere")
        self.environment = {
            "PATH": f"{SCRIPT.parent}{os.pathsep}{os.defpath}",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "NO_PROXY": "127.0.0.1,localhost",
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_EC2_METADATA_DISABLED": "true",
            "ASYNCREP_STATE": str(self.folder / "state"),
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
        } | self.environment

    def __call__(self, *arguments: str | Path, **options: Any) -> Ran:
        """Run it to its end, with both streams piped; options are those of `start`."""
        with self.start(*arguments, **options) as process:
            return ended(process)

    def each(
        self,
        *commands: tuple[str, ...],
        environments: Iterable[Mapping[str, str]] | None = None,
        started: Callable[[subprocess.Popen[str]], None] = lambda _: None,
        patience: float = PATIENCE_SECONDS,
    ) -> list[Ran]:
        """Run several one after the other in a single process, which saves the start-up of all but one.

        Each may bring variables of its own; they stay for those after it. ``started`` is handed the process.
        """
        runs = list(zip(environments or repeat({}), commands, strict=environments is not None))
        other = copy(self)  # as it is: variables that a test has taken away stay away
        other.program = (sys.executable, "-c", _ONE_BY_ONE)
        with other.start(stdin=subprocess.PIPE) as process:
            started(process)
            stdout, stderr = process.communicate(json.dumps(runs), timeout=patience)
        assert process.returncode == 0, stderr
        return [Ran(*ran) for ran in json.loads(stdout)]

    @contextmanager
    def start(self, *arguments: str | Path, **options: Any) -> Iterator[subprocess.Popen[str]]:
        """Start it in a process group of its own; whatever is left of it is killed at the end."""
        settings: dict[str, Any] = {
            "cwd": self.folder,
            "env": self.environment,
            "text": True,
            "start_new_session": True,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        with subprocess.Popen([*self.program, *arguments], **(settings | options)) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def shell(self, line: str) -> Ran:
        """Have sh run a line, in which the command is called `asyncrep`."""
        began = time.monotonic()
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self.folder, env=self.environment, text=True, capture_output=True,
            timeout=PATIENCE_SECONDS, check=False,
        )  # fmt: skip
        return Ran(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    def on_terminal(self, *arguments: str | Path, columns: int) -> tuple[int, Screen]:
        """Run it on a terminal of that width: the exit code, and what is on the screen at the end."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
        environment = self.environment | {"TERM": "xterm-256color"}
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        screen = Screen()
        try:
            with self.start(*arguments, env=environment, **streams) as process:
                os.close(theirs)
                screen.feed(_read_all(ours))
                return process.wait(PATIENCE_SECONDS), screen
        finally:
            os.close(ours)


def ended(process: subprocess.Popen[str], patience: float = PATIENCE_SECONDS) -> Ran:
    """Wait for a started command."""
    began = time.monotonic()
    stdout, stderr = process.communicate(timeout=patience)
    return Ran(process.returncode, stdout, stderr, time.monotonic() - began)


def group_is_gone(process: subprocess.Popen[str]) -> bool:
    """Whether a command that has ended left no process of its own behind."""
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(condition: Callable[[], object], patience: float = PATIENCE_SECONDS / 3) -> None:
    """Wait until something has come true.

    Raises:
        TimeoutError: it does not.
    """
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def json_lines(text: str) -> list[dict[str, Any]]:
    """The objects of JSON lines; only a line feed ends a line."""
    *lines, rest = text.split("\n")
    assert not rest, "the last line has no end"
    return [json.loads(line) for line in lines]


class Screen:
    """What a terminal of unlimited width and length shows, as far as rich steers one.

    Attributes:
        raw: everything that was sent, as it was sent.
        lines: what stands there, without spaces at the ends of lines.
    """

    def __init__(self) -> None:
        self.raw = ""
        self._rows: list[list[str]] = [[]]
        self._row = self._column = 0

    def feed(self, text: str) -> None:
        """Show more."""
        self.raw += text
        place = 0
        for found in _SEQUENCE.finditer(text):
            self._show(text[place : found.start()])
            self._steer(found[1] or "", found[2] or "")
            place = found.end()
        self._show(text[place:])

    @property
    def lines(self) -> list[str]:
        """The lines as they stand."""
        return ["".join(row).rstrip() for row in self._rows]

    @property
    def text(self) -> str:
        """The lines as one text."""
        return "\n".join(self.lines)

    def _show(self, text: str) -> None:
        for character in text:
            match character:
                case "\n":
                    self._row += 1
                    if self._row == len(self._rows):
                        self._rows.append([])
                case "\r":
                    self._column = 0
                case _:
                    row = self._rows[self._row]
                    row += [" "] * (self._column + 1 - len(row))
                    row[self._column] = character
                    self._column += 1

    def _steer(self, parameters: str, command: str) -> None:
        if command == "A":
            self._row = max(0, self._row - int(parameters or 1))
        elif command == "K":
            self._rows[self._row] = []


def _read_all(descriptor: int) -> str:
    """Everything until the other end of a pseudo-terminal is closed."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65_536)
        except OSError:  # Linux's way of telling the end
            break
        if not chunk:
            break
        chunks.append(chunk)
    return b"".join(chunks).decode()


@contextmanager
def endpoint_in_thread() -> Iterator[ScriptedDynamo]:
    """A scripted endpoint on an event loop of its own, so that a test may wait for a process."""
    with in_thread(ScriptedDynamo()) as endpoint:
        yield endpoint
