"""What is spilled comes back by key, however much it is: the last of each key, and no deleted one."""

from __future__ import annotations

import resource
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.backup import spill as spilling
from asyncrep.backup.spill import DELETED, MOST_PARTITIONS, Spill, sensible_partitions, spill_folder
from asyncrep.errors import StorageError
from tests.support.strategies import briefly

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORDS = st.lists(
    st.lists(st.tuples(st.binary(min_size=1, max_size=2), st.binary(max_size=3)), max_size=20), max_size=8
)


def everything(spill: Spill) -> dict[bytes, bytes]:
    """All records; none may be in two pieces."""
    pieces = [piece for partition in range(spill.partitions) for piece in spill.part(partition)]
    whole = {key: image for piece in pieces for key, image in piece.items()}
    assert len(whole) == sum(map(len, pieces))
    return whole


def names(count: int) -> list[bytes]:
    return [b'{"id":{"S":"order-%08d"}}' % number for number in range(count)]


@contextmanager
def small(**sizes: Any) -> Iterator[None]:
    """Smaller buffers, or partitions that count as too large."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in sizes.items():
            patch.setattr(spilling, name, size)
        yield


# ── Content ─────────────────────────────────────────────────────────────────────────────────────────


@given(batches=RECORDS, oversize=st.sampled_from((300, 10**9)), block=st.sampled_from((1, 400, 10**6)))
@briefly
def test_what_comes_back_is_the_last_of_each_key(
    batches: list[list[tuple[bytes, bytes]]], oversize: int, block: int
) -> None:
    state: dict[bytes, bytes] = {}
    with small(_OVERSIZE=oversize, _BLOCK=range(block, block)), spill_folder() as folder:
        spill = Spill(folder / "one", 16)
        for batch in batches:
            spill.add(batch)
            state |= batch
        expected = {key: image for key, image in state.items() if image != DELETED}
        spill.seal()
        assert everything(spill) == expected
        assert everything(spill) == expected, "it can be read again"
        assert spill.get(state) == expected


@given(ours=RECORDS, theirs=RECORDS, oversize=st.sampled_from((300, 10**9)))
@briefly
def test_two_sides_come_back_with_each_key_in_the_same_piece(
    ours: list[list[tuple[bytes, bytes]]], theirs: list[list[tuple[bytes, bytes]]], oversize: int
) -> None:
    with small(_OVERSIZE=oversize, _BLOCK=range(1, 1)), spill_folder() as folder:
        sides = []
        for name, batches in (("ours", ours), ("theirs", theirs)):
            side = Spill(folder / name, 16)
            for batch in batches:
                side.add(batch)
            sides.append(side.seal())
        joined = list(sides[0].beside(sides[1]))
        for mine, others in zip(joined, joined, strict=True):
            seen = mine[0].keys() | mine[1].keys()
            assert (
                sum(bool(seen & (each[0].keys() | each[1].keys())) for each in joined if each is not others)
                == 0
            )
        assert {key: image for piece, _ in joined for key, image in piece.items()} == everything(sides[0])
        assert {key: image for _, piece in joined for key, image in piece.items()} == everything(sides[1])


def test_an_item_of_400_kb_is_kept_beside_small_ones(tmp_path: Path) -> None:
    large = b'{"id":{"S":"large"},"v":{"S":"' + b"x" * 400_000 + b'"}}'
    spill = Spill(tmp_path / "one", 16)
    spill.add([(b"small", b"{}"), (b"large", large), (b"other", b"{}")])
    assert everything(spill.seal()) == {b"small": b"{}", b"large": large, b"other": b"{}"}


def test_what_was_never_added_is_not_there(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "one", 16).seal()
    assert everything(spill) == {}
    assert spill.get([b"a"]) == {}
    assert spill.length == 0


# ── Sizes ───────────────────────────────────────────────────────────────────────────────────────────


def test_similar_keys_are_spread_over_all_partitions(tmp_path: Path) -> None:
    spill = Spill(tmp_path / "one", 64)
    spill.add((key, b"{}") for key in names(64_00))
    spill.seal()
    weights = [spill.weight(partition) for partition in range(64)]
    assert max(weights) < 2 * sum(weights) / 64
    assert min(weights) > sum(weights) / 64 / 2


def test_a_partition_that_is_too_large_comes_in_pieces_of_its_own(tmp_path: Path) -> None:
    with small(_OVERSIZE=20_000):
        spill = Spill(tmp_path / "one", 16)
        spill.add((key, b"{}") for key in names(8000))
        spill.seal()
        pieces = [piece for partition in range(16) for piece in spill.part(partition)]
    assert max(map(len, pieces)) * (spilling.OVERHEAD + len(names(1)[0])) < 25_000
    assert sum(map(len, pieces)) == 8000


def test_one_key_that_was_added_very_often_is_not_divided_for_ever(tmp_path: Path) -> None:
    with small(_OVERSIZE=1000):
        spill = Spill(tmp_path / "one", 16)
        spill.add((b"hot", b"%d" % number) for number in range(10_000))
        assert everything(spill.seal()) == {b"hot": b"9999"}


def test_partitions_are_as_many_as_the_weight_needs() -> None:
    assert sensible_partitions(0) == sensible_partitions(10**6) == 16
    assert sensible_partitions(17 * spilling.LOADED_BYTES) == 32
    assert sensible_partitions(10**12) == MOST_PARTITIONS


# ── Files ───────────────────────────────────────────────────────────────────────────────────────────


def test_files_are_for_their_owner_only_and_gone_when_the_block_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with suppress(ZeroDivisionError), spill_folder() as folder:
        spill = Spill(folder / "one", 16)
        spill.add([(b"a", b"{}")])
        spill.seal()
        assert folder.parent == tmp_path
        assert [each.stat().st_mode & 0o077 for each in (folder, folder / "one")] == [0, 0]
        assert any(each.is_file() for each in folder.rglob("*"))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spill = Spill(tmp_path / "one", 16)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16, before[1]))
    try:
        with pytest.raises(StorageError) as refused:
            spill.add((key, key[::-1]) for key in names(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(refused.value) == (
        f"There is no room left in {tmp_path}, where items are kept while they are compared: let TMPDIR name a larger "
        "place."
    )


def test_a_temporary_folder_that_is_not_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with (
        pytest.raises(StorageError, match=r"cannot be kept in .*nowhere.* No such file or directory"),
        spill_folder(),
    ):
        pass
