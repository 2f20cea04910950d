"""``template``: CloudFormation templates that deploy asyncrep, as they come along with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from asyncrep.cli.runtime import exit_codes
from asyncrep.errors import UsageError

TEMPLATES = {
    "replicator": "A Lambda function that brings every change of a table to its replica.",
    "mirror": "One direction of a two-way mirror: a Lambda function that goes by a version attribute.",
    "backup": "A Lambda function that keeps every change of a table in S3, as versions of an object for each item.",
    "worker": "A Fargate service of workers that share the work, with up to three destinations.",
    "schedule": "Checks of a replica and backups, again and again, and alarms when it differs or one fails.",
}
"""The templates that there are, and what each of them deploys."""

_STDOUT = Path("-")

HELP = """
Print a CloudFormation template that deploys asyncrep: with the least privileges, a dead-letter queue where there
can be dead letters, and alarms. Without NAME, list the templates.

Nothing is asked of AWS. Parameters are described in the template; those without a default have to be given.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep template

  asyncrep template replicator > replicator.yaml

  asyncrep template worker --output worker.yaml

[bold]Deploy one[/bold]

  aws cloudformation deploy --template-file replicator.yaml --stack-name orders-replicator
  --capabilities CAPABILITY_IAM --parameter-overrides StreamArn=… ReplicaRegion=eu-west-1 CodeBucket=… CodeKey=…
"""


def template(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="Which template; without it they are listed.", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="Write it to a new file instead of stdout.", show_default=False),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")] = False,
) -> None:
    """Print a template, or what there is."""
    with exit_codes(verbose=verbose):
        text = _listed() if name is None else read_template(name)
        if output is None or output == _STDOUT:
            sys.stdout.write(text)
        elif name is None:
            raise UsageError("--output needs the NAME of a template.")
        else:
            _write(output, text)


def read_template(name: str) -> str:
    """Return a template's text; it is found in a zip file, too.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in TEMPLATES:
        raise UsageError(f'There is no template "{name}"; it is one of {", ".join(TEMPLATES)}.')
    from importlib.resources import files  # noqa: PLC0415 - only where a template is wanted

    # By the package above: in a zip file a folder that is no package cannot be looked into.
    return files("asyncrep").joinpath("templates", f"{name}.yaml").read_text(encoding="utf-8")


def _listed() -> str:
    width = max(map(len, TEMPLATES))
    return "".join(f"{name:<{width}}  {what}\n" for name, what in TEMPLATES.items())


def _write(path: Path, text: str) -> None:
    """Write a file that was not there: what is there may have been edited.

    Raises:
        UsageError: it is there, or cannot be written.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise UsageError(f"{path} is there already, and is not overwritten.") from error
    except OSError as error:
        raise UsageError(f"Cannot write to {path}: {error.strerror}.") from error
