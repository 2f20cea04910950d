"""Hypothesis strategies for items: every type, odd names, many spellings of one value.

An item is a dictionary in wire form. ``respell`` writes it as raw JSON in one of the many ways that
mean the same. It takes a seeded ``random.Random``, which ``seeds()`` draws: that is a hundred times
cheaper than drawing every blank and every escape from hypothesis itself.
"""

from __future__ import annotations

import base64
import copy
import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st

from asyncrep.model import KeyAttribute, KeySchema

if TYPE_CHECKING:
    from tests.support.values import Item, Value

thoroughly = settings(max_examples=100, deadline=None)
briefly = settings(max_examples=40, deadline=None)

ODD_NAMES = (
    "__proto__",
    "constructor",
    "S",
    "N",
    "M",
    "id",
    "a.b",
    "a[0]",
    "#0",
    ":0",
    "0",
    "-1",
    "1.0",
    " ",
    "size",
    "SET",
    "AND",
    'say "hi"',
    "back\\slash",
    "tab\there",
    "line\nbreak",
    "\x00",
    "\x7f",
    "\u2028",
    "é",
    "e\u0301",
    "ключ",
    "💥",
    "aws:rep",
    "aws:",
    "field0",
    "field1",
    "null",
    "true",
)

_characters = st.characters(exclude_categories=["Cs"])


def seeds() -> st.SearchStrategy[random.Random]:
    """Random generators with a seed that hypothesis chooses and prints."""
    return st.integers(0, 2**32 - 1).map(random.Random)


def names() -> st.SearchStrategy[str]:
    """Attribute names that are compared: odd ones, and whatever else Unicode has."""
    anything = st.text(_characters, min_size=1, max_size=8)
    return st.one_of(st.sampled_from(ODD_NAMES), anything).filter(
        lambda name: not name.startswith("aws:rep:")
    )


def system_names() -> st.SearchStrategy[str]:
    """Names of the attributes that Global Tables (2017) writes into items."""
    return st.sampled_from(("aws:rep:deleting", "aws:rep:updatetime", "aws:rep:updateregion", "aws:rep:é"))


# ── Values ──────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def numbers(draw: st.DrawFn) -> str:
    """Numbers as DynamoDB spells them: up to 38 digits, ±1E-130 … 9.99…E+125, and zero."""
    digits = draw(
        st.one_of(
            st.integers(0, 20).map(str),
            st.integers(0, 10**38 - 1).map(str),
            st.text("0123456789", min_size=38, max_size=38),
        )
    )
    digits = digits.strip("0")
    if not digits:
        return "0"
    magnitude = draw(st.one_of(st.integers(-4, 40), st.integers(-130, 125), st.sampled_from((-130, 125))))
    exponent = magnitude + 1 - len(digits)
    sign = draw(st.sampled_from(("", "-")))
    return plain_number(Decimal(f"{sign}{digits}E{exponent}"))


def plain_number(number: Decimal) -> str:
    """Spell a Decimal without exponent, plus sign and superfluous zeros."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text.strip("-") == "0" else text


def strings(min_size: int = 0) -> st.SearchStrategy[str]:
    """Strings of any characters; some look like values of other types."""
    lookalikes = st.sampled_from(
        ("1", "1.0", "true", "null", "QQ==", '{"S":"a"}', "\\", '"', "/", "aws:rep:a")
    )
    return st.one_of(lookalikes, st.text(_characters, min_size=min_size, max_size=8))


def binaries(min_size: int = 0) -> st.SearchStrategy[str]:
    """Bytes as base64, with all lengths of padding."""
    return st.binary(min_size=min_size, max_size=7).map(lambda content: base64.b64encode(content).decode())


def values() -> st.SearchStrategy[Value]:
    """Attribute values of every type, lists and maps nested in each other."""
    leaves = st.one_of(
        strings().map(lambda content: {"S": content}),
        numbers().map(lambda content: {"N": content}),
        binaries().map(lambda content: {"B": content}),
        st.booleans().map(lambda content: {"BOOL": content}),
        st.just({"NULL": True}),
        _sets("SS", strings()),
        _sets("NS", numbers()),
        _sets("BS", binaries()),
        st.sampled_from(({"L": []}, {"M": {}})).map(copy.deepcopy),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(lambda content: {"L": content}),
            st.dictionaries(names(), inner, max_size=3).map(lambda content: {"M": content}),
        ),
        max_leaves=5,
    )


def _sets(kind: str, members: st.SearchStrategy[str]) -> st.SearchStrategy[Value]:
    return st.lists(members, min_size=1, max_size=4, unique=True).map(lambda content: {kind: content})


def items(min_size: int = 0, max_size: int = 5) -> st.SearchStrategy[Item]:
    """Items of a few attributes, without system attributes."""
    return st.dictionaries(names(), values(), min_size=min_size, max_size=max_size)


# ── Keys ────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def schemas(draw: st.DrawFn) -> KeySchema:
    """Key schemas with and without a range key, of all types, with odd names."""
    chosen = draw(st.lists(names(), min_size=1, max_size=2, unique=True))
    attributes = [KeyAttribute(name, draw(st.sampled_from(("S", "N", "B")))) for name in chosen]
    return KeySchema(*attributes)


def keys(schema: KeySchema) -> st.SearchStrategy[Item]:
    """Keys of a schema in wire form, canonically spelt and in schema order."""
    contents = {"S": strings(1).filter(bool), "N": numbers(), "B": binaries(1)}

    def typed(kind: str) -> st.SearchStrategy[Value]:
        return contents[kind].map(lambda content: {kind: content})

    return st.fixed_dictionaries({attribute.name: typed(attribute.type) for attribute in schema.attributes})


@st.composite
def keyed_items(draw: st.DrawFn, schema: KeySchema) -> Item:
    """Items of a table with that schema."""
    return draw(items()) | draw(keys(schema))


# ── Spellings ───────────────────────────────────────────────────────────────────────────────────────


def spell_number(number: str, source: random.Random) -> str:
    """Spell a number in one of its many ways."""
    exact = Decimal(number)
    sign, digits, exponent = exact.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    zeros = source.choice((0, 0, 1, 5))
    text, exponent = text + "0" * zeros, exponent - zeros
    point = source.randint(0, len(text))
    fraction = text[point:]
    written = exponent + len(fraction)
    whole = "0" * source.choice((0, 0, 1, 3)) + text[:point]
    if not whole and not fraction:
        whole = "0"
    spelt = whole + ("." + fraction if fraction or (whole and source.random() < 0.2) else "")
    if written or source.random() < 0.3:
        mark = source.choice("eE")
        plus = source.choice(("", "+")) if written >= 0 else ""
        padding = "0" * source.choice((0, 0, 1))
        spelt += f"{mark}{plus}{'-' if written < 0 else ''}{padding}{abs(written)}"
    if sign:
        return "-" + spelt
    if exact == 0:
        return source.choice(("", "+", "-")) + spelt
    return source.choice(("", "", "+")) + spelt


def respell(item: Item, source: random.Random) -> bytes:
    """Write an item as raw JSON in one of the many ways that are equal to DynamoDB."""
    return _members([(name, _spell_value(value, source)) for name, value in item.items()], source).encode()


def _spell_value(value: Value, source: random.Random) -> str:
    ((kind, content),) = value.items()
    return _members([(kind, _spell_content(kind, content, source))], source)


def _spell_content(kind: str, content: Any, source: random.Random) -> str:
    match kind:
        case "S" | "B":
            return _spell_string(content, source)
        case "N":
            return _spell_string(spell_number(content, source), source)
        case "SS" | "BS" | "NS":
            spelt = [_spell_content(kind[0], member, source) for member in content]
            source.shuffle(spelt)
            return _sequence("[", spelt, "]", source)
        case "L":
            return _sequence("[", [_spell_value(element, source) for element in content], "]", source)
        case "M":
            return _members(
                [(name, _spell_value(member, source)) for name, member in content.items()], source
            )
        case _:
            return "true" if content else "false"


def _members(members: list[tuple[str, str]], source: random.Random) -> str:
    shuffled = source.sample(members, len(members))
    pairs = [
        f"{_spell_string(name, source)}{_blank(source)}:{_blank(source)}{text}" for name, text in shuffled
    ]
    return _sequence("{", pairs, "}", source)


def _sequence(opening: str, pieces: list[str], closing: str, source: random.Random) -> str:
    comma = f"{_blank(source)},{_blank(source)}"
    return f"{opening}{_blank(source)}{comma.join(pieces)}{_blank(source)}{closing}"


def _blank(source: random.Random) -> str:
    return source.choice(("", "", "", " ", "\n", "\t \r\n"))


_SHORT_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip


def _spell_string(text: str, source: random.Random) -> str:
    eagerness = source.choice((0.0, 0.0, 0.3, 1.0))
    return '"' + "".join(_spell_character(character, eagerness, source) for character in text) + '"'


def _spell_character(character: str, eagerness: float, source: random.Random) -> str:
    must = character < " " or character in '"\\'
    if not must and source.random() >= eagerness:
        return character
    if character in _SHORT_ESCAPES and source.random() < 0.5:
        return _SHORT_ESCAPES[character]
    units = character.encode("utf-16-be").hex()
    units = source.choice((units, units.upper()))
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))
