"""Runs a command: the event loop, signals, and what becomes of errors."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from asyncrep.errors import AsyncrepError, UsageError
from asyncrep.flow.loop import fast_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from asyncrep.report import Report

T = TypeVar("T")

AGREE = 0
DISCREPANCIES = 1
USAGE = 2
FAILED = 3
INTERRUPTED = 130


class Interrupted(Exception):
    """Ctrl-C or SIGTERM ended the command."""


class Ending:
    """How a command that runs until it is told to stop wants to be told.

    Attributes:
        begin: is called at the first signal, instead of cancelling the command; None cancels it.
    """

    def __init__(self) -> None:
        self.begin: Callable[[], None] | None = None


def run_async(main: Coroutine[Any, Any, T], ending: Ending | None = None) -> T:
    """Run a command's coroutine to its end, or cancel it cleanly on Ctrl-C or SIGTERM.

    With an ``ending`` that has something to begin, only a second signal cancels it.

    Raises:
        Interrupted: a signal ended it; everything it had open is closed.
    """
    signalled = asyncio.Event()
    try:
        with fast_runner() as runner:
            return runner.run(_until(signalled, main, ending or Ending()))
    except (asyncio.CancelledError, KeyboardInterrupt):
        if signalled.is_set():
            raise Interrupted from None
        raise


async def _until(signalled: asyncio.Event, main: Coroutine[Any, Any, T], ending: Ending) -> T:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None

    def stop() -> None:
        if ending.begin is not None:
            begin, ending.begin = ending.begin, None
            begin()
            return
        signalled.set()
        for number in handled:  # a second Ctrl-C does not wait for anything
            loop.remove_signal_handler(number)
        task.cancel()

    handled = () if sys.platform == "win32" else (signal.SIGINT, signal.SIGTERM)
    for number in handled:
        loop.add_signal_handler(number, stop)
    return await main


@contextmanager
def exit_codes(*, verbose: bool) -> Iterator[None]:
    """Turn what a command raises into one sentence on stderr and the right exit code.

    With ``verbose`` the traceback is shown too.
    """
    _prepare_streams(verbose=verbose)
    try:
        yield
        sys.stdout.flush()
    except typer.Exit:
        raise
    except UsageError as error:
        _fail(error, USAGE, verbose=verbose)
    except AsyncrepError as error:
        _fail(error, FAILED, verbose=verbose)
    except (Interrupted, KeyboardInterrupt) as error:
        complain("Interrupted.")
        raise typer.Exit(INTERRUPTED) from error
    except BrokenPipeError as error:
        # Whoever read our stdout is gone: what it has not read cannot be called done.
        _give_up_stdout()
        raise typer.Exit(FAILED) from error
    except OSError as error:
        _give_up_stdout()
        _fail(error, FAILED, verbose=verbose, prefix="Cannot write to stdout: ")
    except Exception as error:  # noqa: BLE001 - the last place where a person can be spared a traceback
        _fail(error, FAILED, verbose=verbose, prefix=f"Unexpected {type(error).__name__}: ")


def _prepare_streams(*, verbose: bool) -> None:
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PrintableFormatter())
    if not verbose:  # else botocore's own logging prints tracebacks where nobody configured any
        for library in ("botocore", "aiobotocore"):
            logging.getLogger(library).addHandler(logging.NullHandler())
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a character no one can show must not end a run
            stream.reconfigure(errors="backslashreplace")


class _PrintableFormatter(logging.Formatter):
    """Formats what libraries log where nobody configured any logging: it may quote what came from anywhere."""

    def format(self, record: logging.LogRecord) -> str:
        """Return it as lines in which nothing steers a terminal."""
        return _printable_lines(super().format(record))


def _printable_lines(text: str) -> str:
    from asyncrep.cli.render import printable  # noqa: PLC0415 - rich, only when it is needed

    return "\n".join(map(printable, text.rstrip("\n").split("\n")))


def _give_up_stdout() -> None:
    """Point stdout elsewhere, so that the interpreter does not fail again when it flushes at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def exit_code(report: Report) -> int:
    """Return the exit code of a checking command that ended by itself."""
    if not report.complete or report.failed:
        return FAILED
    return DISCREPANCIES if report.remaining else AGREE


def complain(message: str) -> None:
    """Say something on stderr that the user must not miss."""
    from asyncrep.cli.render import message_console, say  # noqa: PLC0415 - rich, only when it is needed

    say(message_console(), message, "bold red")


def _fail(error: Exception, code: int, *, verbose: bool, prefix: str = "") -> NoReturn:
    if verbose:
        sys.stderr.write(_printable_lines("".join(traceback.format_exception(error))) + "\n")
    complain(f"Error: {prefix}{error}")
    try:
        sys.stdout.flush()
    except OSError:
        _give_up_stdout()
    raise typer.Exit(code) from error
