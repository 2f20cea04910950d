"""The simulation has teeth: whoever breaks a promise in asyncrep's code is caught within a few seeds."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from asyncrep.diff.confirm import Verdict, read_strongly
from asyncrep.diff.track import Track
from asyncrep.flow.memory import Reservation
from asyncrep.jobs.journal import Journal
from asyncrep.jobs.log import Log
from asyncrep.mutation import AttributesAre, Outcome
from asyncrep.repair.findings import Findings
from asyncrep.repair.mend import mend
from asyncrep.repair.plan import plan
from asyncrep.repair.rules import conclude_harmless
from asyncrep.repair.take_back import plan_take_back
from tests.support.simulated.story import Output, SimulationError, Story, play

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncrep.model import Discrepancy

SEEDS = 400
"""More than any of these takes."""


def _set(patch: pytest.MonkeyPatch, module: str, name: str, value: object) -> None:
    """Set a name in a module; by its path, a package's function of the same name would be found."""
    patch.setattr(import_module(module), name, value)


def drop_a_guard(patch: pytest.MonkeyPatch) -> None:
    """Guard on all attributes but one."""

    def careless(found: Discrepancy, ignored: Any, **how: Any) -> list[Any]:
        planned = []
        for mutation in plan(found, ignored, **how):
            guard = mutation.precondition
            if isinstance(guard, AttributesAre):
                names = [name for name in guard.expected if name != "id"]
                kept = {name: guard.expected[name] for name in names[1:]}
                mutation = replace(mutation, precondition=AttributesAre(kept))  # noqa: PLW2901
            planned.append(mutation)
        return planned

    _set(patch, "asyncrep.repair.mend", "plan", careless)


def write_before_the_intent_is_durable(patch: pytest.MonkeyPatch) -> None:
    durable = Log.reach

    async def hasty(self: Log, place: int | None = None) -> None:
        if place is None:
            await durable(self)

    patch.setattr(Log, "reach", hasty)


def skip_the_verification(patch: pytest.MonkeyPatch) -> None:
    _set(patch, "asyncrep.repair.mend", "same_side", lambda *_: True)


def believe_stale_reads(patch: pytest.MonkeyPatch) -> None:
    async def weakly(source: Any, keys: Any) -> dict[bytes, bytes]:
        found = await source.get(keys, consistent=False)
        return {key: bytes(image) for key, image in found.items()}

    _set(patch, "asyncrep.diff.confirm", "read_strongly", weakly)


def delete_at_once(patch: pytest.MonkeyPatch) -> None:
    async def handle(self: Findings, batch: list[Discrepancy]) -> None:
        await mend(self._run, conclude_harmless(self._run, batch), deleting=True)

    patch.setattr(Findings, "_handle", handle)


def forget_the_old_image(patch: pytest.MonkeyPatch) -> None:
    settle = Journal.settle

    def forgetful(self: Journal, number: int, outcome: Outcome) -> None:
        settle(self, number, replace(outcome, old=None))

    patch.setattr(Journal, "settle", forgetful)


def take_a_lost_answer_for_a_refusal(patch: pytest.MonkeyPatch) -> None:
    settle = Journal.settle

    def sure(self: Journal, number: int, outcome: Outcome) -> None:
        settle(self, number, replace(outcome, unsure=False))

    patch.setattr(Journal, "settle", sure)


def forget_the_undecided(patch: pytest.MonkeyPatch) -> None:
    """Let checkpoints pass what nobody has verified."""
    patch.setattr(Track, "_undecided", lambda _: {})


def forget_what_was_not_told(patch: pytest.MonkeyPatch) -> None:
    _set(patch, "asyncrep.jobs.job", "unsaid_writes", _nothing_unsaid)


async def _nothing_unsaid(*_: Any) -> tuple[dict[bytes, Any], dict[str, int]]:
    return {}, {}


def take_the_journals_word(patch: pytest.MonkeyPatch) -> None:
    """Tell as repaired what a run before this one has written, without another look at the replica."""

    async def confirmed(run: Any, candidates: Any) -> list[Verdict]:
        images = await read_strongly(run.primary, [candidate.key for candidate in candidates])
        return [Verdict(candidate, images.get(candidate.key), None, None) for candidate in candidates]

    _set(patch, "asyncrep.diff.resume", "confirm", confirmed)


def keep_the_whole_output(patch: pytest.MonkeyPatch) -> None:
    """Cut nothing off that a run before this one has told and not counted."""
    patch.setattr(Output, "cut", lambda *_: None)


def allow_deletions_anew(patch: pytest.MonkeyPatch) -> None:
    """Let each run of a job delete what those before it may have deleted and not told."""
    patch.setattr(Track, "unsaid_deletions", lambda _: set())


def undo_what_others_wrote(patch: pytest.MonkeyPatch) -> None:
    _set(patch, "asyncrep.repair.take_back", "_changed_since", lambda *_: None)


def undo_in_the_order_of_the_writes(patch: pytest.MonkeyPatch) -> None:
    _set(
        patch,
        "asyncrep.repair.undo",
        "plan_take_back",
        lambda entries, image: plan_take_back(entries[::-1], image),
    )


def lose_a_reservation(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reservation, "release", lambda _: None)


def _delete_and_be_ended(story: Story) -> None:
    """Let a job that may delete little be ended often."""
    story.with_job, story.left_to_end = True, 8
    story.no_delete, story.max_delete = False, 2


def _leave_as_it_is(_: Story) -> None:
    """Change nothing."""


BREAKS: dict[Callable[[pytest.MonkeyPatch], object], str] = {
    drop_a_guard: "was lost, and the intent does not hold it",
    write_before_the_intent_is_durable: "before its intent was durable",
    skip_the_verification: "no strong read of the primary has verified that",
    believe_stale_reads: "no strong read",
    delete_at_once: "deleted before both walks had ended",
    forget_the_old_image: "does not hold the true old image",
    take_a_lost_answer_for_a_refusal: "was not applied, and it was",
    forget_the_undecided: "differed, and",
    forget_what_was_not_told: "written to and never told",
    take_the_journals_word: "no strong read of the primary has verified that",
    keep_the_whole_output: "are counted as",
    allow_deletions_anew: "were deleted, and the most was",
    undo_what_others_wrote: "undoing has taken away what others wrote",
    undo_in_the_order_of_the_writes: "could be taken back, and is told as",
    lose_a_reservation: "a reservation was left behind",
}


PREPARED: dict[Callable[[pytest.MonkeyPatch], object], Callable[[Story], object]] = {
    allow_deletions_anew: _delete_and_be_ended
}
"""What happens seldom of its own accord."""


def seeds_until_caught(breaking: Callable[[pytest.MonkeyPatch], object], words: str) -> int | None:
    """How many seeds it takes; None when it takes more than there are."""
    with pytest.MonkeyPatch.context() as patch:
        breaking(patch)
        for seed in range(SEEDS):
            try:
                play(seed, prepare=PREPARED.get(breaking, _leave_as_it_is))
            except SimulationError as error:
                if words in str(error):
                    return seed + 1
    return None


def _parameter(breaking: Callable[[pytest.MonkeyPatch], object]) -> Any:
    long = breaking in (allow_deletions_anew, take_the_journals_word, undo_in_the_order_of_the_writes)
    return pytest.param(breaking, id=breaking.__name__, marks=[pytest.mark.long] if long else [])


@pytest.mark.parametrize("breaking", [_parameter(breaking) for breaking in BREAKS])
def test_a_broken_promise_is_found(breaking: Callable[[pytest.MonkeyPatch], object]) -> None:
    assert seeds_until_caught(breaking, BREAKS[breaking]) is not None
