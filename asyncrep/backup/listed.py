"""What is known of one backup under a place without reading its items: its objects, its state, when it was checked.

Pure. ``catalog.py`` finds it out, ``verify.py`` notes what a check said, ``retention.py`` decides what goes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from asyncrep.backup.export import EXPORTS
from asyncrep.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from asyncrep.storage import Entry

Kind = Literal["dump", "snapshot", "export", "folder"]
"""See the glossary of ``asyncrep.backup``."""

State = Literal["whole", "incomplete", "damaged", "unproven", "removing"]
"""What a listing tells of a backup.

``whole``: there is a manifest, and every object that it names, of the size it says. ``incomplete``: some segments
are whole, but nothing says that all are. ``damaged``: objects are missing or of another size, or a manifest cannot
be read. ``unproven``: there is no manifest, as in dumps of dynamodb-replicator. ``removing``: what a removal that
was interrupted has left.
"""

VERIFICATION = "verification.json"
"""The object beside a manifest that says what a check found."""

FORMAT = 1


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """What a check of a backup found, as it is kept beside the backup.

    Attributes:
        asyncrep: what this is.
        at: when the check ended, ISO 8601 in UTC.
        sound: every object was as its manifest says.
        problems: the first things that were not, one sentence each.
        items: that were counted.
        objects: a digest of the names, sizes and ETags of the objects that were read: of others nothing is said.
        removing: the backup was about to be removed.
        version: the asyncrep that wrote it.
    """

    asyncrep: str = "verification"
    format: int = FORMAT
    at: str
    sound: bool = False
    problems: list[str] = []
    items: int = 0
    objects: str = ""
    removing: bool = False
    version: str = __version__


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Verification).decode


def verification_bytes(verification: Verification) -> bytes:
    """Return a verification as it is stored: JSON, indented for people."""
    return msgspec.json.format(_encode(verification), indent=2) + b"\n"


def read_verification(document: bytes) -> Verification | None:
    """Read a verification; None when it is none that this asyncrep knows, for then nothing is known."""
    try:
        found = _decode(document)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return found if found.asyncrep == "verification" and found.format == FORMAT else None


def digest(objects: Iterable[Entry]) -> str:
    """Return what tells these objects from any others of the same names."""
    digested = hashlib.sha256()
    for each in sorted(objects):
        digested.update(f"{each.name}\0{each.size}\0{each.etag}\n".encode("utf-8", "surrogateescape"))
    return digested.hexdigest()


@dataclass(frozen=True, slots=True)
class Listed:
    """One backup, as a listing and its manifest tell of it.

    Attributes:
        name: within the place, of an export within its folder of exports; empty for a backup that is the place
            itself.
        kind: what it is.
        state: how it looks from outside.
        source: what was backed up, as people call it: ``us-east-1/orders``; empty where nothing tells.
        begun, ended: when it was made; of one without a manifest, what its objects tell.
        changed: when the last of its objects was written.
        items: in it; None where nothing tells.
        stored_bytes: of its data.
        data: the names of its data objects that are there.
        manifests: the names of everything else of it, in the order in which it may be removed.
        note: where its verification is kept, or would be.
        objects: see ``Verification.objects``.
        strangers: objects among its own that are none of it.
        verification: what a check of these very objects found; None when there was none.
        is_ours: asyncrep has made it, and so may remove it.
        continues: it is an incremental export, which is nothing without those before it.
        problem: why its state is what it is, one sentence.
    """

    name: str
    kind: Kind
    state: State
    source: str = ""
    begun: datetime | None = None
    ended: datetime | None = None
    changed: datetime | None = None
    items: int | None = None
    stored_bytes: int = 0
    data: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    note: str = ""
    objects: str = ""
    strangers: int = 0
    verification: Verification | None = None
    problem: str = ""
    is_ours: bool = True
    continues: bool = False

    @property
    def folder(self) -> str:
        """What the names of its objects begin with, seen from the place."""
        if not self.name or self.kind == "snapshot":
            return ""
        return f"{EXPORTS}/{self.name}/" if self.kind == "export" else f"{self.name}/"

    @property
    def label(self) -> str:
        """What it is called within the place; with what follows, for a place that it is itself."""
        return f"{EXPORTS}/{self.name}" if self.kind == "export" and self.name else self.name

    @property
    def is_verified(self) -> bool:
        """Whether a check has read all of it and found it sound, and nothing was replaced since."""
        return self.state == "whole" and self.verification is not None and self.verification.sound

    @property
    def is_sound(self) -> bool:
        """Whether it is whole, as far as is known."""
        return self.state == "whole" and (self.verification is None or self.verification.sound)

    @property
    def status(self) -> str:
        """Its state in the words of people."""
        if self.kind == "folder":
            return "incremental"
        if self.state == "whole" and self.verification is not None:
            return "verified" if self.verification.sound else "damaged"
        return {"unproven": "no manifest", "removing": "half removed"}.get(self.state, self.state)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``backups list --json`` prints of it."""
        checked = self.verification
        return {
            "name": self.name,
            "kind": self.kind,
            "status": self.status,
            "source": self.source,
            "begun": _stamp(self.begun),
            "ended": _stamp(self.ended),
            "items": self.items,
            "stored_bytes": self.stored_bytes,
            "objects": len(self.data),
            "strangers": self.strangers,
            "verified": checked.at if checked is not None and checked.sound else None,
            "problem": self.problem
            or (checked.problems[0] if checked is not None and checked.problems else ""),
        }


def _stamp(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
