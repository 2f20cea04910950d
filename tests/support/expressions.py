"""The expressions asyncrep sends, read and evaluated by the rules and limits of DynamoDB.

Conditions are `attribute_exists(n)`, `attribute_not_exists(n)` and `n = :v` (or <, <=, >, >=), joined by
AND and OR, with parentheses where wanted. Updates are `SET n = :v, …` and `REMOVE n, …`. Projections are lists of
top-level names. Anything else is a ValidationException, so that a new use is noticed here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.values import (
    KEY_TYPES,
    Item,
    ServiceError,
    Value,
    canonical,
    check_value,
    invalid,
    plain,
    value_size,
)

EXPRESSION_BYTES = 4096
OPERATORS = 300
SUBSTITUTED_BYTES = 2 * 1024 * 1024

Condition = Callable[[Mapping[str, Value]], bool]

_TOKEN = re.compile(r"\s*(#[A-Za-z0-9_]+|:[A-Za-z0-9_]+|[A-Za-z_][A-Za-z0-9_]*|[<>]=|[(),=<>])\s*")
_FUNCTIONS = ("attribute_exists", "attribute_not_exists")
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Placeholders:
    """What #names and :values stand for in one request, and which of them were used."""

    def __init__(self, body: Mapping[str, Any], *expressions: str) -> None:
        self._names: dict[str, str] = body.get("ExpressionAttributeNames", {})
        self._values: dict[str, Value] = body.get("ExpressionAttributeValues", {})
        self._used: set[str] = set()
        for parameter in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
            if parameter in body and not body[parameter]:
                raise invalid(f"{parameter} must not be empty")
            if parameter in body and not any(expression in body for expression in expressions):
                raise invalid(f"{parameter} can only be specified when using expressions")
        for value in self._values.values():
            check_value(value)
        if sum(map(value_size, self._values.values())) > SUBSTITUTED_BYTES:
            raise invalid("ExpressionAttributeValues exceeds max size")

    def name(self, token: str) -> str:
        """The attribute that a `#placeholder` or a bare name means."""
        if not token.startswith("#"):
            return token
        self._used.add(token)
        if token not in self._names:
            raise invalid(
                "An expression attribute name used in the document path is not defined; "
                f"attribute name: {token}"
            )
        return self._names[token]

    def value(self, token: str) -> Value:
        """The value that a `:placeholder` means."""
        self._used.add(token)
        if token not in self._values:
            raise invalid(
                f"An expression attribute value used in expression is not defined; attribute value: {token}"
            )
        return self._values[token]

    def check_all_used(self) -> None:
        """Refuse names and values that no expression used, as the service does."""
        for parameter, given in (
            ("ExpressionAttributeNames", self._names),
            ("ExpressionAttributeValues", self._values),
        ):
            if unused := [token for token in given if token not in self._used]:
                raise invalid(
                    f"Value provided in {parameter} unused in expressions: keys: {{{', '.join(unused)}}}"
                )


@dataclass
class Update:
    """The attributes an update sets and removes."""

    assigned: Item = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)

    def apply(self, item: Item) -> Item:
        """The item after the update; the one given stays as it is."""
        kept = {name: value for name, value in item.items() if name not in self.removed}
        return kept | self.assigned


class _Reader:
    """The tokens of one expression, taken one after the other."""

    def __init__(self, kind: str, text: str, placeholders: Placeholders) -> None:
        self.kind = kind
        self.placeholders = placeholders
        size = len(text.encode())
        if size > EXPRESSION_BYTES:
            raise self.refusal(
                f"Expression size has exceeded the maximum allowed size; expression size: {size}"
            )
        if not text.strip():
            raise self.refusal("The expression can not be empty;")
        self._tokens = self._split(text)
        self._next = 0
        self.operators = 0

    def _split(self, text: str) -> list[str]:
        tokens, position = [], 0
        while position < len(text):
            if (found := _TOKEN.match(text, position)) is None:
                raise self.refusal(f'Syntax error; token: "{text[position]}", near: "{text[position:][:20]}"')
            tokens.append(found[1])
            position = found.end()
        return tokens

    def refusal(self, message: str) -> ServiceError:
        return invalid(f"Invalid {self.kind}: {message}")

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else "<EOF>"

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def skip(self, token: str) -> bool:
        """Take the token if it comes next; words of the language have no case."""
        if self.peek().upper() != token:
            return False
        self._next += 1
        return True

    def expect(self, token: str) -> None:
        if not self.skip(token):
            raise self.syntax_error()

    def name(self) -> str:
        token = self.peek()
        if not (token[0].isalpha() or token[0] in "#_"):
            raise self.syntax_error()
        return self.placeholders.name(self.take())

    def value(self) -> Value:
        if not self.peek().startswith(":"):
            raise self.syntax_error()
        return self.placeholders.value(self.take())

    def operator(self) -> None:
        self.operators += 1
        if self.operators > OPERATORS:
            raise self.refusal(
                f"The expression contains too many operators; maximum operators allowed: {OPERATORS}"
            )

    def finish(self) -> None:
        if self._next < len(self._tokens):
            raise self.syntax_error()

    def syntax_error(self) -> ServiceError:
        near = " ".join(self._tokens[max(self._next - 1, 0) : self._next + 2])
        return self.refusal(f'Syntax error; token: "{self.peek()}", near: "{near}"')


def read_condition(text: str, placeholders: Placeholders) -> Condition:
    """The test a ConditionExpression makes of the item there is (or of {} when there is none)."""
    reader = _Reader("ConditionExpression", text, placeholders)
    condition = _disjunction(reader)
    reader.finish()
    return condition


def _disjunction(reader: _Reader) -> Condition:
    """What OR joins; AND binds more tightly."""
    terms = [_conjunction(reader)]
    while reader.skip("OR"):
        reader.operator()
        terms.append(_conjunction(reader))
    return lambda item: any(term(item) for term in terms)


def _conjunction(reader: _Reader) -> Condition:
    terms = [_term(reader)]
    while reader.skip("AND"):
        reader.operator()
        terms.append(_term(reader))
    return lambda item: all(term(item) for term in terms)


def _term(reader: _Reader) -> Condition:
    if reader.skip("("):
        condition = _disjunction(reader)
        reader.expect(")")
        return condition
    if reader.peek() in _FUNCTIONS:
        return _presence(reader)
    name = reader.name()
    if reader.peek() in _COMPARISONS:
        return _comparison(reader, name)
    reader.expect("=")
    reader.operator()
    wanted = canonical(reader.value())
    return lambda item: name in item and canonical(item[name]) == wanted


def _comparison(reader: _Reader, name: str) -> Condition:
    """Values of two types compare as nothing does; of maps, lists, sets and the like none is the lower."""
    compare = _COMPARISONS[reader.take()]
    reader.operator()
    value = reader.value()
    ((kind, _),) = value.items()
    if kind not in KEY_TYPES:
        raise reader.refusal(f"Incorrect operand type for operator or function; operand type: {kind}")
    return lambda item: kind in item.get(name, {}) and compare(_ordered(item[name]), _ordered(value))


def _ordered(value: Value) -> Any:
    """Texts compare by their UTF-8 bytes."""
    content = plain(value)
    return content.encode() if isinstance(content, str) else content


def _presence(reader: _Reader) -> Condition:
    present = reader.take() == "attribute_exists"
    reader.operator()
    reader.expect("(")
    name = reader.name()
    reader.expect(")")
    return lambda item: (name in item) is present


def read_update(text: str, placeholders: Placeholders) -> Update:
    """The assignments and removals of an UpdateExpression.

    A plain `SET n = :v` holds no operator in the sense of the limit of 300, which counts + and -
    and functions; only the length of the text bounds how many attributes it may name.
    """
    reader = _Reader("UpdateExpression", text, placeholders)
    update = Update()
    sections: set[str] = set()
    while reader.peek() != "<EOF>":
        section = reader.take().upper()
        if section in sections:
            raise reader.refusal(f'The "{section}" section can only be used once in an update expression;')
        sections.add(section)
        _section(reader, section, update)
    _refuse_overlap(reader, [*update.assigned, *update.removed])
    return update


def _section(reader: _Reader, section: str, update: Update) -> None:
    if section not in ("SET", "REMOVE"):
        raise reader.refusal(f'Syntax error; token: "{section}"')
    while True:
        name = reader.name()
        if section == "REMOVE":
            update.removed.append(name)
        else:
            reader.expect("=")
            if name in update.assigned:
                _refuse_overlap(reader, [name, name])
            update.assigned[name] = reader.value()
        if not reader.skip(","):
            return


def read_projection(text: str, placeholders: Placeholders) -> list[str]:
    """The top-level attributes a ProjectionExpression asks for."""
    reader = _Reader("ProjectionExpression", text, placeholders)
    names = [reader.name()]
    while reader.skip(","):
        names.append(reader.name())
    reader.finish()
    _refuse_overlap(reader, names)
    return names


def _refuse_overlap(reader: _Reader, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise reader.refusal(
                "Two document paths overlap with each other; must remove or rewrite one of these paths; "
                f"path one: [{name}], path two: [{name}]"
            )
        seen.add(name)
