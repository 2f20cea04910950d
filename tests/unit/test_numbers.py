"""Numbers: one spelling for each value, exactly, judged by decimal.Decimal."""

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.items.numbers import canonical_number
from tests.support.strategies import numbers, seeds, spell_number, thoroughly

PLAIN = re.compile(r"0|-?[1-9][0-9]*|-?(?:0|[1-9][0-9]*)\.[0-9]*[1-9]", re.ASCII)
MANTISSAS = st.from_regex(r"[+-]?(?:[0-9]{1,6}\.?[0-9]{0,6}|\.[0-9]{1,6})", fullmatch=True)
EXPONENTS = st.one_of(st.just(""), st.from_regex(r"[eE][+-]?[0-9]{1,3}", fullmatch=True))


@thoroughly
@given(numbers(), seeds())
def test_every_spelling_of_a_number_becomes_the_one_that_dynamodb_returns(number, source):
    spelt = spell_number(number, source)
    assert Decimal(spelt) == Decimal(number)
    assert canonical_number(spelt) == number


@thoroughly
@given(MANTISSAS, EXPONENTS)
def test_whatever_decimal_calls_a_number_keeps_its_exact_value(mantissa, exponent):
    canonical = canonical_number(mantissa + exponent)
    assert Decimal(canonical) == Decimal(mantissa + exponent)
    assert canonical_number(canonical) == canonical


@thoroughly
@given(numbers())
def test_the_canonical_spelling_is_plain(number):
    assert PLAIN.fullmatch(canonical_number(number))


@thoroughly
@given(st.text("0123456789.eE+-", max_size=12))
def test_canonical_text_is_its_own_canonical_text(text):
    assert canonical_number(canonical_number(text)) == canonical_number(text)


@thoroughly
@given(numbers(), numbers(), seeds())
def test_two_numbers_are_equal_exactly_when_their_canonical_texts_are(left, right, source):
    texts = canonical_number(spell_number(left, source)), canonical_number(spell_number(right, source))
    assert (texts[0] == texts[1]) == (Decimal(left) == Decimal(right))


@thoroughly
@given(MANTISSAS, MANTISSAS)
def test_close_numbers_are_equal_exactly_when_their_canonical_texts_are(left, right):
    assert (canonical_number(left) == canonical_number(right)) == (Decimal(left) == Decimal(right))


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("+1", "1"),
        ("01", "1"),
        ("1.", "1"),
        ("10E-1", "1"),
        ("1E0", "1"),
        ("1e+00", "1"),
        (".5", "0.5"),
        ("-.5", "-0.5"),
        ("0", "0"),
        ("-0", "0"),
        ("+0.00", "0"),
        ("0E125", "0"),
        ("-0.0e-130", "0"),
        ("100", "100"),
        ("1E2", "100"),
        ("1.50", "1.5"),
        ("-12.3400", "-12.34"),
        ("1E-3", "0.001"),
        ("1E-130", "0." + "0" * 129 + "1"),
        ("9.9999999999999999999999999999999999999E+125", "9" * 38 + "0" * 88),
        ("12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("0.12345678901234567890123456789012345678", "0.12345678901234567890123456789012345678"),
    ],
)
def test_spellings(text, canonical):
    assert canonical_number(text) == canonical


def test_numbers_that_are_one_float_stay_two_numbers():
    assert float("10000000000000000000000000000000000001") == float("10000000000000000000000000000000000002")
    assert canonical_number("10000000000000000000000000000000000001") != canonical_number(
        "10000000000000000000000000000000000002"
    )


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ".", "-", "+", "-.", "e5", ".e5", "1e", "1e+", "1e5.0", "1..2", "1.2.3", "--1", "+-1", "1-",
        " 1", "1 ", "1\n", "1,0", "1_0", "0x10", "NaN", "Infinity", "-Infinity", "true", "\u0661", "\uff11", "½", "1E\uff11",
    ],
)  # fmt: skip
def test_text_that_is_no_number_stays_as_it_is(text):
    assert canonical_number(text) == text


@pytest.mark.parametrize("text", ["1E999999", "1E-999999", "-7E400", "123E-5000"])
def test_numbers_beyond_the_service_are_not_written_out_as_a_page_of_zeros(text):
    canonical = canonical_number(text)
    assert Decimal(canonical) == Decimal(text)
    assert len(canonical) < 20
    assert canonical_number(canonical) == canonical


def test_numbers_beyond_the_service_are_equal_by_value_too():
    assert canonical_number("1E500") == canonical_number("10.0E499") == canonical_number("0.001E+503")
    assert canonical_number("1E500") != canonical_number("1E501")
