"""What people read: summaries and records, on terminals of two widths and in pipes."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep import Report
from asyncrep.cli.render import SHOWN, printable, say, show_summary
from asyncrep.model import Cause, Different, Discrepancy, Extraneous, State
from asyncrep.report import Sampled
from tests.support.consoles import HOSTILE, console, flat, image, missing, shown
from tests.support.scenario import key
from tests.support.strategies import thoroughly

COMPLETE: dict[str, Any] = {"segments": 16, "scanned_primary": 10, "scanned_replica": 10, "complete": True}


def report(**counts: Any) -> Report:
    return Report("us-east-1/orders", "eu-west-1/orders", **(COMPLETE | counts))


def summary(told: Report, found: list[Discrepancy] | None = None, width: int = 80, **options: Any) -> str:
    target = console(width, terminal=options.pop("terminal", True))
    repairing = options.pop("repairing", False)
    show_summary(target, told, found or [], options.pop("ignored", ()), repairing=repairing)
    return shown(target)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ü → 😀 日本", "plain ü → 😀 日本"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b", "\\x9b"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\ud800", "\\ud800"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_printable_spells_out_what_could_steer_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x202A, 0x202E, 0x2066, 0x2069, 0x200F])
def test_no_control_character_is_printable(code: int) -> None:
    assert printable(chr(code)).isprintable()


@thoroughly
@given(st.text(st.characters()))
def test_printable_text_says_which_characters_it_spells_out(text: str) -> None:
    spelled = printable(text)
    assert spelled.isprintable()
    assert printable(spelled) == spelled
    if "\\" not in text:
        escape = re.compile(r"\\(?:x..|u....|U........|[nrt])")
        assert escape.sub(lambda found: found[0].encode().decode("unicode_escape"), spelled) == text


@pytest.mark.parametrize("width", [80, 120])
def test_a_sentence_is_broken_between_words_on_a_terminal(width: int) -> None:
    target = console(width)
    sentence = "The quick brown fox jumps over the lazy dog. " * 6
    say(target, sentence)
    lines = shown(target).splitlines()
    assert max(map(len, lines)) <= width
    assert flat(" ".join(lines)) == flat(sentence)


def test_a_sentence_is_one_line_in_a_pipe() -> None:
    target = console(terminal=False)
    say(target, f"{'word ' * 40}{HOSTILE}end")
    assert len(shown(target).split("\n")) == 2
    assert shown(target).endswith("end\n")


def test_a_sentence_s_brackets_are_not_markup() -> None:
    target = console()
    say(target, "[red]x[/red] :smile: {'a': 1}")
    assert shown(target) == "[red]x[/red] :smile: {'a': 1}\n"


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_summary_fits_and_says_all(width: int, terminal: bool) -> None:
    told = report(
        matched=1_234_567, missing=15, different=12, extraneous=7, settled=3, in_flight=2, expired=1,
        repaired=5, contested=1, failed=1, skipped=4, read_units=8126.5, write_units=28, seconds=8.7, throttled=3,
    )  # fmt: skip
    found = [missing(f"{'long' * 60}{number}") for number in range(SHOWN)]
    text = summary(told, found, width, terminal=terminal)
    if terminal:
        assert max(map(len, text.splitlines())) <= width
    for words in (
        "us-east-1/orders → eu-west-1/orders",
        "1,234,607 compared",
        "1,234,570 equal, 3 of them only after the replica had settled",
        "15 missing from the replica",
        "12 different",
        "7 extraneous in the replica",
        "2 in flight: the primary's item kept changing",
        "1 expired: TTL is about to delete them",
        "5 repaired and verified",
        "1 contested: somebody else kept changing them",
        "1 failed to be repaired",
        "4 skipped",
        "… and 27 more; --output FILE has all of them",
        "batch-get, 16 segments · 8,126.5 read units, 28 write units · 8.7 s, 2 items/s · throttled 3 times",
        "The replica is not right: 29 discrepancies remain; add --repair to bring the replica in line.",
    ):
        assert words in flat(text)


def test_only_counts_that_say_something_are_shown() -> None:
    text = summary(report(matched=10))
    assert re.findall(r"^ *([\d,]+)  (.*?) *$", text, re.MULTILINE) == [("10", "compared"), ("10", "equal")]


def test_discrepancies_are_shown_with_sigil_key_and_attributes() -> None:
    found: list[Discrepancy] = [
        missing("a"),
        Extraneous(key=key("b"), replica=image(id="b")),
        Different(key=key("c"), primary=image(id="c", v=1, w=1, t=1), replica=image(id="c", v=2, t=2)),
        missing("d", state=State.IN_FLIGHT),
    ]
    text = summary(report(missing=1, extraneous=1, different=1, in_flight=1), found, ignored={"t"})
    assert [line for line in text.splitlines() if '{"id"' in line] == [
        '  + {"id":{"S":"a"}}',
        '  - {"id":{"S":"b"}}',
        '  * {"id":{"S":"c"}}  v, w',
        '  + {"id":{"S":"d"}}  in flight',
    ]


def test_a_listed_discrepancy_shows_its_cause_shortly() -> None:
    older = Different(
        key=key("c"), primary=image(id="c", v=1), replica=image(id="c", v=2), cause=Cause.OLDER_VERSION
    )
    found: list[Discrepancy] = [
        missing("a", cause=Cause.MISSED_PUT),
        Extraneous(key=key("b"), replica=image(id="b"), cause=Cause.MISSED_TTL_DELETE),
        older,
        older.moved(State.SKIPPED),
        missing("d").moved(State.IN_FLIGHT),
        missing("e").moved(State.EXPIRED),
    ]
    assert [line for line in summary(report(missing=6), found).splitlines() if '{"id"' in line] == [
        '  + {"id":{"S":"a"}}  missed put',
        '  - {"id":{"S":"b"}}  missed TTL delete',
        '  * {"id":{"S":"c"}}  older version: v',
        '  * {"id":{"S":"c"}}  older version: v  skipped',
        '  + {"id":{"S":"d"}}  in flight',
        '  + {"id":{"S":"e"}}  expired',
    ]


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_told_in_a_listed_line(cause: Cause) -> None:
    states = {Cause.IN_FLIGHT: State.IN_FLIGHT, Cause.EXPIRED: State.EXPIRED}
    found = missing("a", cause=cause, state=states.get(cause, State.FOUND))
    [line] = [line for line in summary(report(missing=1), [found]).splitlines() if '{"id"' in line]
    assert len(line.split("}}  ")[1]) > 3


def counted(text: str) -> list[tuple[str, str]]:
    """The table of counts; a cause keeps the two spaces it is indented by."""
    return re.findall(r"^ *([\d,]+)  ((?:  )?\S.*?) *$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_causes_stand_under_their_kind_where_they_say_more_than_it(width: int, terminal: bool) -> None:
    causes = {
        "missed_put": 1, "older_version": 1_005, "attribute_change": 1, "missed_delete": 2, "missed_ttl_delete": 1,
        "in_flight": 1,
    }  # fmt: skip
    told = report(missing=1, different=1_006, extraneous=3, in_flight=1, causes=causes)
    text = summary(told, width=width, terminal=terminal)
    assert counted(text)[2:] == [
        ("1", "missing from the replica"),
        ("1,006", "different"),
        ("1,005", "  older version of the primary's item"),
        ("1", "  nothing tells which side is the older one"),
        ("3", "extraneous in the replica"),
        ("1", "  expired by the primary's TTL: that delete was missed"),
        ("2", "  deleted in the primary, or written to the replica alone"),
        ("1", "in flight: the primary's item kept changing"),
    ]
    assert max(map(len, text.splitlines())) <= 120


def test_causes_that_say_what_their_kind_says_are_not_repeated() -> None:
    causes = {"missed_put": 1, "attribute_change": 2, "missed_delete": 3, "expired": 1}
    told = report(missing=1, different=2, extraneous=3, expired=1, causes=causes)
    assert [number for number, _ in counted(summary(told))][2:] == ["1", "2", "3", "1"]


def test_keys_and_names_that_steer_are_spelled_out() -> None:
    found = [
        Different(
            key=key("a"),
            primary=image(**{"id": "a", HOSTILE: 1}),
            replica=image(**{"id": "a", HOSTILE: 2}),
        )
    ]
    text = summary(report(different=1), [*found, missing(HOSTILE)], 200)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert "\\x1b[2J\\x9b1A\\n\\r\\u202e\\x07\\x00" in text


def test_whole_keys_are_shown_in_a_pipe() -> None:
    text = summary(report(missing=1), [missing("long" * 40)], terminal=False)
    assert "long" * 40 in text


@pytest.mark.parametrize(
    ("counts", "repairing", "conclusion"),
    [
        ({}, False, "The replica is right: no discrepancies."),
        (
            {"missing": 2, "repaired": 2},
            True,
            "The replica is right: every discrepancy was repaired and verified.",
        ),
        ({"missing": 1}, True, "The replica is not right: 1 discrepancy remains."),
        ({"missing": 2, "failed": 1}, True, "The replica is not right: 2 discrepancies remain."),
        ({"missing": 1}, False, "1 discrepancy remains; add --repair to bring the replica in line."),
        ({"complete": False}, False, "The run is incomplete: it ended before everything was compared."),
        (
            {"complete": False, "missing": 2},
            True,
            "The run is incomplete: it ended before everything was compared.",
        ),
        ({"strategy": "backfill"}, False, "Nothing was written; add --repair to fill the replica."),
        ({"strategy": "backfill"}, True, "The replica is filled; diff-tables tells whether it is right."),
    ],
)
def test_the_conclusion_follows_from_the_counts(
    counts: dict[str, Any], repairing: bool, conclusion: str
) -> None:
    assert flat(summary(report(**counts), repairing=repairing)).endswith(conclusion)


def test_a_backfill_that_failed_for_some_is_not_called_filled() -> None:
    text = summary(report(strategy="backfill", missing=5, repaired=3, failed=2), repairing=True)
    assert "The replica is filled" not in text
    assert "2" in text.split("backfill, ", maxsplit=1)[0]


def test_one_of_a_thing_is_singular() -> None:
    assert "1 segments" not in summary(report(segments=1))
    assert "1 write units" not in summary(report(write_units=1, read_units=1))


@pytest.mark.parametrize(
    ("sampled", "sentence"),
    [
        (
            Sampled(100, 2_000, 0, 0.0295),
            (
                "A sample: 100 of 2,000 segments, chosen at random; none of them held discrepancies. "
                "With 95 % confidence at most 3.0 % of all segments did."
            ),
        ),
        (
            Sampled(100, 2_000, 1, 0.04511),
            (
                "A sample: 100 of 2,000 segments, chosen at random; 1 of them held discrepancies. "
                "With 95 % confidence at most 4.6 % of all segments did."
            ),
        ),
        (
            Sampled(1_200, 1_000_000, 1_111, 0.9411),
            (
                "A sample: 1,200 of 1,000,000 segments, chosen at random; 1,111 of them held discrepancies. "
                "With 95 % confidence at most 95 % of all segments did."
            ),
        ),
        (
            Sampled(2_000, 2_000, 1, 0.0005),
            "The sample is everything: all 2,000 segments were looked at; 1 of them held discrepancies.",
        ),
    ],
)
@pytest.mark.parametrize("width", [80, 120])
def test_a_sample_says_what_it_proves(width: int, sampled: Sampled, sentence: str) -> None:
    told = report(sampled=sampled, segments=sampled.of, missing=sampled.drifted)
    text = summary(told, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert sentence in flat(text)
    assert f"batch-get, {sampled.segments:,} of {sampled.of:,} segments · " in flat(text)
    assert sentence in summary(told, terminal=False).splitlines()


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.996, "100 %"),
        (0.5, "50 %"),
        (0.141, "15 %"),
        (0.1, "10 %"),
        (0.0151, "1.6 %"),
        (0.0015, "0.15 %"),
        (0.001496, "0.15 %"),
        (0.000298, "0.030 %"),
        (1e-6, "0.00010 %"),
    ],
)
def test_a_bound_is_rounded_up_and_written_without_exponent(share: float, words: str) -> None:
    assert f"at most {words} of all segments" in flat(summary(report(sampled=Sampled(1, 2, 0, share))))


def test_an_incomplete_sample_proves_nothing() -> None:
    text = summary(report(sampled=Sampled(100, 2_000, 3), complete=False, missing=3))
    assert "confidence" not in text
    assert flat(text).endswith("The run is incomplete: it ended before everything was compared.")


@pytest.mark.parametrize(
    ("counts", "repairing", "conclusion"),
    [
        ({}, False, "The sample is right: no discrepancies."),
        (
            {"missing": 2, "repaired": 2},
            True,
            (
                "The sample is right: every discrepancy was repaired and verified; the rest of the replica was not "
                "looked at."
            ),
        ),
        (
            {"missing": 1},
            False,
            "1 discrepancy remains; --repair without --sample brings the replica in line.",
        ),
        ({"missing": 1}, True, "The replica is not right: 1 discrepancy remains."),
    ],
)
def test_a_sample_s_conclusion_is_about_the_sample(
    counts: dict[str, Any], repairing: bool, conclusion: str
) -> None:
    told = report(sampled=Sampled(100, 2_000, 0, 0.03), **counts)
    assert flat(summary(told, repairing=repairing)).endswith(conclusion)


def test_a_sample_of_everything_concludes_about_the_replica() -> None:
    told = report(sampled=Sampled(16, 16, 1, 1 / 16), missing=1, repaired=1)
    assert flat(summary(told, repairing=True)).endswith(
        "The replica is right: every discrepancy was repaired and verified."
    )
    assert "add --repair to bring" in flat(summary(report(sampled=Sampled(16, 16, 1, 1 / 16), missing=1)))


@pytest.mark.parametrize(("cost", "words"), [(0.0001, "$0.0001"), (0.42, "$0.4200"), (1234.5, "$1,234.50")])
def test_what_a_run_cost_is_told(cost: float, words: str) -> None:
    assert f" items/s · {words}\n" in summary(report(cost_usd=cost), width=120)


@pytest.mark.parametrize("cost", [0.0, 0.00009])
def test_a_cost_that_is_nearly_nothing_is_not_worth_telling(cost: float) -> None:
    assert "$" not in summary(report(cost_usd=cost))
