"""``iam-policy``: the least that AWS must allow for a command line, as an IAM policy."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from asyncrep.cli import permissions
from asyncrep.cli.backup_permissions import BACKUP_NEEDS
from asyncrep.cli.diff_tables import check_combination
from asyncrep.cli.folder_arguments import find_destinations
from asyncrep.cli.metrics import Metric
from asyncrep.cli.one_record import find_record
from asyncrep.cli.options import CompareOptions, OutputOptions, PaceOptions, PlaceOptions, RepairOptions
from asyncrep.cli.permissions import InCloudWatch, Writing
from asyncrep.cli.places import find_pair
from asyncrep.cli.policy import Home, Needs, known_account, policies, statements
from asyncrep.cli.replicate_options import (
    ApplyOptions,
    FollowPaceOptions,
    SelectOptions,
    StartOptions,
    TaskOptions,
    TellOptions,
)
from asyncrep.cli.replicate_permissions import replicating
from asyncrep.cli.replication import Replication
from asyncrep.cli.runtime import exit_codes, run_async
from asyncrep.cli.statement import ACCOUNT, partition_of
from asyncrep.cli.storage_options import S3Options
from asyncrep.cli.undo import ReplicaOptions
from asyncrep.errors import CredentialsError, UsageError
from asyncrep.jobs.place import job_place
from asyncrep.location import S3Place, parse_storage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asyncrep.aws.place import Place
    from asyncrep.cli.permissions import Elsewhere, InS3
    from asyncrep.cli.statement import Statement

T = TypeVar("T")

HELP = """
Print the IAM policy with which COMMAND can do its work, and nothing more: put [bold]iam-policy[/bold] in
front of the command line that is meant. COMMAND is read, not run.

The policy names exact actions and exact ARNs. Where neither the location nor a role tells a table's account,
it is the one that --account names, or else that of your credentials, for which STS is asked (GetCallerIdentity,
which anybody may call). Nothing else is asked of AWS; but the policy of [bold]undo[/bold] depends on its journal,
which is read, also from S3.

Whoever acts as several identities, by profiles or roles, needs a policy for each: then one JSON object holds
them by identity, and --identity chooses one.
"""
EPILOG = """
[bold]Examples[/bold]

  asyncrep iam-policy diff-tables us-east-1/orders eu-west-1/orders

  asyncrep iam-policy diff-tables us-east-1/orders eu-west-1/orders --repair --no-delete

  asyncrep iam-policy --account 123456789012 --explain plan us-east-1/orders eu-west-1/orders
"""

_NOTHING_NEEDED = "asyncrep {} calls no AWS of yours: it needs no policy."
_AWS_HOST = re.compile(r"\.(?:amazonaws\.com(?:\.cn)?|api\.aws)(?=[:/]|$)")


@dataclass(frozen=True, slots=True)
class Asked:
    """A command line, read by the command's own parser.

    Attributes:
        parameters: the values of its arguments and options by name.
    """

    name: str
    parameters: Mapping[str, Any]

    def group(self, kind: type[T]) -> T:
        """Return a group of its options, filled in."""
        return kind(**{entry.name: self.parameters[entry.name] for entry in fields(kind)})  # type: ignore[arg-type]

    def places(self) -> dict[str, Place]:
        """Return the two tables it is about.

        Raises:
            UsageError: as for the command itself.
        """
        options = self.group(PlaceOptions)
        if "arguments" in self.parameters:
            primary, replica = find_record(self.parameters["arguments"], options)[0]
        else:
            primary, replica = find_pair(self.parameters["primary"], self.parameters["replica"], options)
        return {"primary": primary, "replica": replica}

    def writing(self) -> Writing:
        """Return what it may write to the replica."""
        places = self.places()
        return Writing(
            same_names=places["primary"].ref.table == places["replica"].ref.table,
            force=self.parameters["force_global_table"],
            dry_run=self.parameters.get("dry_run", False),
            deletes=not self.parameters.get("no_delete", False),
        )


def iam_policy(
    context: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND …", help="The command line that is meant, with its options.", show_default=False
        ),
    ],
    account: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Account of the tables whose location does not tell it."),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only the policy of this profile, role or 'default credentials'."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say on stderr what each action is needed for.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of errors.")] = False,
) -> None:
    """Print the least-privilege policy of a command line."""
    asked = _read(context, command)
    with exit_codes(verbose=verbose):
        if account is not None and not ACCOUNT.fullmatch(account):
            raise UsageError(f'An account is named by its 12 digits, not "{account}".')
        needed = _needs(asked)
        homes = _homes(needed.places, needed.account or account)
        partition = partition_of(_environment_region()) if needed.elsewhere else ""
        owner = needed.account or account or next((home.caller_account for home in homes.values()), None)
        made = statements(needed.grants, homes, needed.elsewhere, partition, owner)
        made = _chosen(made, identity)
        _print(made)
        if explain:
            _explain(made)


def _read(context: typer.Context, command: Sequence[str]) -> Asked:
    """Have the command's own parser read its command line; what it refuses is refused as if it were run."""
    found: Any = context.find_root().command
    parsed: Any = context.parent
    words, rest = [], list(command)
    while rest and hasattr(found, "resolve_command"):  # a group of commands, as jobs
        word, found, rest = found.resolve_command(parsed, rest)
        parsed = found.make_context(word, rest, parent=parsed)
        rest = [*parsed._protected_args, *parsed.args]  # noqa: SLF001 - what a group leaves to its commands
        words.append(word)
    return Asked(" ".join(words), parsed.params)


def _diff_tables(asked: Asked) -> Needs:
    check_combination(
        asked.group(RepairOptions),
        asked.group(OutputOptions),
        asked.group(PaceOptions),
        asked.group(CompareOptions),
    )
    given = asked.parameters
    job = job_place(given["job"])
    writing = replace(asked.writing(), dry_run=given["dry_run"] or not given["repair"])
    elsewhere: list[Elsewhere] = [*_in_s3(asked, permissions.keeping, "Job", job)]
    if given["backfill"]:
        grants = permissions.backfilling(writing, job=job is not None)
    elif given["repair"]:
        grants = permissions.repairing(writing)
        elsewhere += _journal(asked, dry_run=writing.dry_run)
    else:
        grants = permissions.checking()
    places = asked.places()
    metric = Metric.of(given["metric"], (places["primary"], places["replica"]))
    if metric is not None:
        elsewhere.append(InCloudWatch(metric.namespace, "primary"))
    return Needs(places, grants, elsewhere)


def _mend(asked: Asked) -> Needs:
    writing = asked.writing()
    kept = _journal(asked, dry_run=writing.dry_run)
    return Needs(asked.places(), permissions.mending_records(writing), kept)


def _explain_record(asked: Asked) -> Needs:
    journal = asked.parameters["journal"]
    kept = _in_s3(asked, permissions.reading, "Journal", parse_storage(journal)) if journal else []
    return Needs(asked.places(), permissions.comparing_record(), kept)


def _undo(asked: Asked) -> Needs:
    """Read the journal's header: it names the table that is written to."""
    from asyncrep.jobs.history import read_header  # noqa: PLC0415

    undoes = parse_storage(asked.parameters["undoes"])
    dry_run = asked.parameters["dry_run"]
    place = undoes.absolute() if isinstance(undoes, Path) else undoes
    header = run_async(read_header(place, access=asked.group(S3Options).access()))
    owner = header.replica.arn.split(":")[4:5]
    return Needs(
        {"replica": asked.group(ReplicaOptions).place(header)},
        permissions.undoing(dry_run=dry_run),
        [*_in_s3(asked, permissions.reading, "Undone", undoes), *_journal(asked, dry_run=dry_run)],
        account=owner[0] if owner and ACCOUNT.fullmatch(owner[0]) else None,
    )


def _jobs(asked: Asked) -> Needs:
    """Only jobs in S3 call AWS; their journals are kept with them."""
    names = dict.fromkeys(asked.parameters.get("jobs") or [asked.parameters.get("job")])
    places = [place for name in names if isinstance(place := job_place(name), S3Place)]
    removes = asked.name == "jobs remove" and not asked.parameters["dry_run"]
    needed = permissions.removing if removes else permissions.reading
    kept = [_in_s3(asked, needed, f"Job{number}", place) for number, place in enumerate(places, 1)]
    return Needs({}, [], [each for one in kept for each in one])


def _replicate(asked: Asked) -> Needs:
    storing = asked.group(S3Options)
    arguments = asked.parameters["tables"] or []
    source, destinations = find_destinations(arguments, asked.group(PlaceOptions), storing)
    replication = Replication.of(
        source,
        destinations,
        asked.group(TaskOptions),
        asked.group(StartOptions),
        asked.group(ApplyOptions),
        asked.group(SelectOptions),
        asked.group(FollowPaceOptions),
        asked.group(TellOptions),
        storing,
    )
    return replicating(replication)


def _journal(asked: Asked, *, dry_run: bool) -> list[InS3]:
    journal = asked.parameters["journal"]
    if journal is None or dry_run:
        return []
    return _in_s3(asked, permissions.keeping, "Journal", parse_storage(journal))


def _in_s3(
    asked: Asked, needed: Callable[[str, S3Place], InS3], what: str, place: Path | S3Place | None
) -> list[InS3]:
    if not isinstance(place, S3Place):
        return []
    return [replace(needed(what, place), access=asked.group(S3Options).access())]


NEEDS: dict[str, Callable[[Asked], Needs]] = {
    "diff-record": lambda asked: Needs(asked.places(), permissions.comparing_record()),
    "diff-tables": _diff_tables,
    "explain": _explain_record,
    "jobs merge": _jobs,
    "jobs remove": _jobs,
    "jobs show": _jobs,
    "plan": lambda asked: Needs(asked.places(), permissions.planning()),
    "repair": _mend,
    "replicate": _replicate,
    "replicate-record": _mend,
    "undo": _undo,
    **BACKUP_NEEDS,
}
"""What each command needs that calls AWS."""

WITHOUT_AWS = frozenset({"backups", "demo", "iam-policy", "jobs", "jobs list", "sandbox", "template"})
"""The commands that need nothing: what they call is their own, or is allowed to everybody."""


def _needs(asked: Asked) -> Needs:
    if asked.name in WITHOUT_AWS:
        raise UsageError(_NOTHING_NEEDED.format(asked.name))
    needed = NEEDS[asked.name](asked)
    if not (needed.grants or needed.elsewhere):  # what it is about lies in files
        raise UsageError(_NOTHING_NEEDED.format(asked.name))
    return needed


def _homes(places: Mapping[str, Place], account: str | None) -> dict[str, Home]:
    """Return where tables are; STS is asked once for each profile, and only where nothing else tells."""
    from asyncrep.aws.identity import region_of  # noqa: PLC0415

    asked: dict[str | None, str] = {}
    homes = {}
    for name, place in places.items():
        owner = known_account(place) or account
        if owner is None:
            _refuse_unknown(place)
            if place.profile not in asked:
                asked[place.profile] = _ask_account(place)
            owner = asked[place.profile]
        homes[name] = Home(place, region_of(place), owner)
    return homes


def _environment_region() -> str:
    """Return the Region whose partition the buckets are in: nothing but their names tells where they are."""
    from asyncrep.aws.identity import environment_region  # noqa: PLC0415

    return environment_region()


def _refuse_unknown(place: Place) -> None:
    """Refuse to ask AWS for whose a table is that is not there: a local endpoint is no reason to call it.

    Raises:
        UsageError: the place is no AWS.
    """
    endpoint = place.ref.endpoint_url
    if endpoint is not None and not _AWS_HOST.search(endpoint):
        raise UsageError(f"{place.ref} tells no account, and AWS does not know it: name one with --account.")


def _ask_account(place: Place) -> str:
    """Ask STS whose the credentials are.

    Raises:
        CredentialsError: STS could not be asked.
    """
    from asyncrep.aws.identity import ask_account  # noqa: PLC0415

    try:
        return run_async(ask_account(place))
    except CredentialsError as error:
        raise CredentialsError(
            f"The account of {place.ref} is not known: name it with --account. Asking AWS for it failed: {error}"
        ) from error


def _chosen(made: Sequence[Statement], identity: str | None) -> list[Statement]:
    """Return the statements of one identity, or of all.

    Raises:
        UsageError: the command does not act as that identity.
    """
    identities = list(dict.fromkeys(each.identity for each in made))
    if identity is not None and identity not in identities:
        named = ", ".join(f'"{each}"' for each in identities)
        raise UsageError(f'The command does not act as "{identity}", but as {named}.')
    return [each for each in made if identity in {None, each.identity}]


def _print(made: Sequence[Statement]) -> None:
    found = policies(made)
    shown: Any = next(iter(found.values())) if len(found) == 1 else found
    # ASCII, so that nothing in it can steer a terminal.
    sys.stdout.write(json.dumps(shown, indent=2) + "\n")
    sys.stdout.flush()


def _spelled(statement: Statement) -> str:
    resource = statement.resource
    return resource if isinstance(resource, str) else ", ".join(resource)


def _explain(made: Sequence[Statement]) -> None:
    from asyncrep.cli.render import message_console, say  # noqa: PLC0415 - rich, only when it is needed

    console = message_console()
    for statement in made:
        say(console, f"{statement.sid}: {statement.identity} on {_spelled(statement)}", "bold")
        for permission in sorted(statement.permissions, key=lambda each: each.action):
            optional = f" Optional; without it: {permission.without}" if permission.is_optional else ""
            say(console, f"  {permission.action}: {permission.why}{optional}")
    say(
        console,
        "A table, queue or bucket that is encrypted with a KMS key of your own needs the permission to use that key "
        "as well, which is not part of this policy: its description names the key.",
        "dim",
    )
