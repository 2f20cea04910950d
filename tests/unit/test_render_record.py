"""A record side by side, on terminals of two widths."""

from __future__ import annotations

import re

import pytest

from asyncrep import AttributePair, RecordDiff
from asyncrep.cli.render import show_record
from asyncrep.model import Different, Discrepancy, State
from tests.support.consoles import HOSTILE, console, flat, image, missing, shown
from tests.support.scenario import key


def record(discrepancy: Discrepancy | None, *attributes: AttributePair) -> RecordDiff:
    return RecordDiff(key("a"), discrepancy, list(attributes))


def record_text(told: RecordDiff, width: int = 80) -> str:
    target = console(width)
    show_record(target, told)
    return shown(target)


def test_a_record_marks_each_attribute() -> None:
    one, two = {"N": "1"}, {"N": "2"}
    text = record_text(
        record(
            Different(key=key("a"), primary=image(id="a"), replica=image(id="a")),
            AttributePair("same", one, one, compared=True, equal=True),
            AttributePair("spelled", one, {"N": "1.0"}, compared=True, equal=True),
            AttributePair("changed", one, two, compared=True, equal=False),
            AttributePair("ours", one, None, compared=True, equal=False),
            AttributePair("theirs", None, two, compared=True, equal=False),
            AttributePair("ignored", one, two, compared=False, equal=False),
        )
    )
    marks = {name: mark.strip() for mark, name in re.findall(r"│ (.) │ (\w+) ", text)}
    assert marks == {"same": "", "spelled": "", "changed": "*", "ours": "+", "theirs": "-", "ignored": "~"}
    assert text.startswith('{"id":{"S":"a"}}')


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_record_is_folded_and_nothing_is_lost(width: int) -> None:
    value = {"S": "0123456789" * 50}
    text = record_text(record(None, AttributePair("n" * 100, value, value, compared=True, equal=True)), width)
    assert max(map(len, text.splitlines())) <= width
    assert text.count("n") >= 100
    assert sum(map(str.isdigit, text)) == 1000


def test_a_hostile_record_is_spelled_out() -> None:
    value = {"M": {HOSTILE: {"S": HOSTILE}}}
    text = record_text(record(None, AttributePair(HOSTILE, value, value, compared=True, equal=True)), 200)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_a_state_s_reason_is_told_and_none_is_not() -> None:
    told = record_text(record(missing("a", state=State.IN_FLIGHT, reason="It kept changing.")))
    assert "The record is in flight: It kept changing." in flat(told)
    silent = record_text(record(missing("a", state=State.EXPIRED)))
    assert "None" not in silent


def test_a_hostile_reason_is_spelled_out() -> None:
    text = record_text(record(missing("a", state=State.FAILED, reason=HOSTILE)), 200)
    assert all(character.isprintable() or character == "\n" for character in text)
