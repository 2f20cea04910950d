"""The spool: keeps every candidate, in order, within its bounds, on disk when there are many."""

import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.diff.confirm import Candidate
from asyncrep.diff.spool import Spool
from tests.support.strategies import briefly, schemas, thoroughly
from tests.support.strategies import keys as keys_of
from tests.unit.test_keys import compact

keys = schemas().flatmap(keys_of).map(compact)
candidates = st.builds(Candidate, keys, st.integers(0, 999_999), st.integers(0, 400_000), st.just("replica"))


def numbered(position, size=1):
    return Candidate(b'{"id":{"N":"%d"}}' % position, position % 16, size, "replica")


def filled(added):
    spool = Spool()
    for candidate in added:
        spool.add(candidate)
    return spool


@briefly
@given(st.lists(candidates, max_size=30, unique_by=lambda candidate: candidate.key))
def test_everything_added_comes_back_in_order(added):
    with filled(added) as spool:
        assert spool.length == len(added)
        assert [candidate for group in spool.groups(7, 1_000_000) for candidate in group] == added


@thoroughly
@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 10), st.integers(1, 100))
def test_groups_are_full_but_never_too_full(sizes, most, heaviest):
    with filled(numbered(position, size) for position, size in enumerate(sizes)) as spool:
        groups = list(spool.groups(most, heaviest))
    assert [candidate.size for group in groups for candidate in group] == sizes
    for group in groups:
        weights = [candidate.size for candidate in group]
        assert 1 <= len(group) <= most
        assert sum(weights[:-1]) < heaviest
    for group in groups[:-1]:
        assert len(group) == most or sum(candidate.size for candidate in group) >= heaviest


def test_a_record_added_twice_comes_once_within_a_group():
    twice = [numbered(1), numbered(2), numbered(1), numbered(3)]
    with filled(twice) as spool:
        assert list(spool.groups(100, 1_000)) == [[numbered(1), numbered(2), numbered(3)]]
        for group in spool.groups(2, 1_000):
            assert len({candidate.key for candidate in group}) == len(group)


def test_an_empty_spool_has_no_groups():
    with Spool() as spool:
        assert spool.length == 0
        assert list(spool.groups(10, 10)) == []


def test_groups_can_be_read_again_and_added_to_afterwards():
    with filled([numbered(1), numbered(2)]) as spool:
        first = list(spool.groups(1, 10))
        assert list(spool.groups(1, 10)) == first == [[numbered(1)], [numbered(2)]]
        spool.add(numbered(3))
        assert list(spool.groups(10, 10)) == [[numbered(1), numbered(2), numbered(3)]]


def test_many_records_go_to_a_file_of_the_owner_s_and_come_back(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    key = b'{"id":{"S":"%s"}}' % (b"x" * 2_000)
    added = [
        Candidate(key.replace(b"x", b"%04d" % position, 1), 0, 1, "replica") for position in range(3_000)
    ]
    with filled(added) as spool:
        assert spool._file._rolled
        assert spool.length == 3_000
        assert [candidate for group in spool.groups(100, 10_000) for candidate in group] == added
        assert list(tmp_path.iterdir()) == []  # the file has no name that anybody could open
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_when_it_is_closed_even_after_an_error():
    spool = filled([numbered(1)])
    with pytest.raises(KeyError), spool:
        raise KeyError
    with pytest.raises(ValueError, match="closed"):
        spool.add(numbered(2))


@pytest.mark.parametrize("text", ['"', "\\", "\\n", "\u2028", "💥", "\\u0000", "é"])
def test_keys_of_any_characters_stay_one_line_each(text):
    candidate = Candidate(compact({"id": {"S": text}}), 3, 9, "replica")
    with filled([candidate, numbered(1)]) as spool:
        assert list(spool.groups(10, 100)) == [[candidate, numbered(1)]]
