"""Discrepancies as lines for programs, and the files they go to."""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asyncrep.cli.output import OutputError, combined_line, harmless, json_line, opened
from asyncrep.errors import UsageError
from asyncrep.model import Cause, Different, Discrepancy, Extraneous, Missing, State
from tests.support.scenario import item, key
from tests.support.strategies import thoroughly

if TYPE_CHECKING:
    from collections.abc import Callable


IMAGE = json.dumps(item("a", v=1)).encode()
OTHER = json.dumps(item("a", v=2)).encode()
MISSING = Missing(key=key("a"), primary=IMAGE, segment=3)
DIFFERENT = Different(key=key("a"), primary=IMAGE, replica=OTHER)
EXTRANEOUS = Extraneous(key=key("a"), replica=OTHER)


@pytest.mark.parametrize(
    ("found", "primary", "replica"),
    [
        (MISSING, item("a", v=1), None),
        (DIFFERENT, item("a", v=1), item("a", v=2)),
        (EXTRANEOUS, None, item("a", v=2)),
    ],
)
def test_a_json_line_holds_everything(found: Discrepancy, primary: Any, replica: Any) -> None:
    line = json_line(found.moved(State.FAILED, "Because."))
    assert line.endswith(b"\n")
    assert json.loads(line) == {
        "kind": found.kind,
        "key": item("a"),
        "primary": primary,
        "replica": replica,
        "segment": found.segment,
        "state": "failed",
        "reason": "Because.",
        "cause": None,
        "attributes": {"changed": ["v"], "missing": [], "extra": []} if found is DIFFERENT else None,
    }


def test_a_json_line_names_the_cause_and_the_attributes_that_differ() -> None:
    primary = json.dumps(item("a", v=1, new=1, same=1, seen=1)).encode()
    replica = json.dumps(item("a", v=2, old=1, same=1, seen=2)).encode()
    found = Different(key=key("a"), primary=primary, replica=replica, cause=Cause.OLDER_VERSION)
    line = json.loads(json_line(found, ignored={"seen"}))
    assert line["cause"] == "older_version"
    assert line["attributes"] == {"changed": ["v"], "missing": ["new"], "extra": ["old"]}


def test_images_are_not_rewritten_on_the_way() -> None:
    image = rb'{"id":{"S":"a"},"n":{"N":"1.50"},"big":{"N":"12345678901234567890123456789012345678"},"__proto__":{"S":"\u2028"}}'
    assert image in json_line(Missing(key=key("a"), primary=image))


def test_one_discrepancy_is_one_line_whatever_the_white_space() -> None:
    image = b'{\n "id": {"S": "a\\n"},\r\n\t"v": {"N": "1"}\n}'
    line = json_line(Missing(key=key("a"), primary=image))
    assert line.count(b"\n") == 1
    assert json.loads(line)["primary"] == {"id": {"S": "a\n"}, "v": {"N": "1"}}


@thoroughly
@given(st.dictionaries(st.text(), st.text()))
def test_harmless_json_means_the_same_and_cannot_steer_a_terminal(told: dict[str, str]) -> None:
    line = harmless(msgspec.json.encode(told))
    assert line.decode().isprintable()
    assert json.loads(line) == msgspec.json.decode(line) == told


def test_what_can_be_read_is_not_escaped() -> None:
    assert harmless('"ü → 日本 😀\\u202e"'.encode()) == '"ü → 日本 😀\\u202e"'.encode()
    assert harmless('"\x7f\x9b\u202e\U000e0001"'.encode()) == b'"\\u007f\\u009b\\u202e\\udb40\\udc01"'
    assert (
        combined_line(Missing(key='{"id":{"S":"\u202e"}}'.encode(), primary=IMAGE))
        == b'+ {"id":{"S":"\\u202e"}}\n'
    )


def test_line_separators_of_unicode_stay_in_the_line() -> None:
    image = json.dumps(item("a", text="x\u2028y\u2029\x85z"), ensure_ascii=False).encode()
    assert json.loads(json_line(Missing(key=key("a"), primary=image)))["primary"]["text"] == {
        "S": "x\u2028y\u2029\x85z"
    }


@pytest.mark.parametrize(("found", "sigil"), [(MISSING, b"+"), (EXTRANEOUS, b"-"), (DIFFERENT, b"*")])
@pytest.mark.parametrize(
    "state", [State.FOUND, State.REPAIRED, State.CONTESTED, State.SKIPPED, State.CHANGED]
)
def test_a_combined_line_is_sigil_and_key(found: Discrepancy, sigil: bytes, state: State) -> None:
    assert combined_line(found.moved(state)) == sigil + b' {"id":{"S":"a"}}\n'


@pytest.mark.parametrize("found", [MISSING, EXTRANEOUS, DIFFERENT])
def test_a_failure_has_a_sigil_of_its_own(found: Discrepancy) -> None:
    assert combined_line(found.moved(State.FAILED, "x")) == b'! {"id":{"S":"a"}}\n'


@pytest.mark.parametrize("state", [State.IN_FLIGHT, State.EXPIRED])
def test_what_is_no_drift_has_no_combined_line(state: State) -> None:
    assert combined_line(MISSING.moved(state)) == b""


def test_no_path_writes_nowhere() -> None:
    with opened(None, json_line) as write:
        write(MISSING)


def test_a_new_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with opened(path, combined_line) as write:
        write(MISSING)
        write(EXTRANEOUS)
    assert path.read_bytes() == b'+ {"id":{"S":"a"}}\n- {"id":{"S":"a"}}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_old_content_goes_with_the_first_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n" * 1000)
    with opened(path, combined_line) as write:
        assert path.read_text() == "old\n" * 1000
        write(MISSING)
    assert path.read_bytes() == b'+ {"id":{"S":"a"}}\n'


def test_old_content_goes_with_a_good_end_without_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n")
    with opened(path, json_line):
        pass
    assert path.read_bytes() == b""


def _fail(path: Path, *, after: int) -> None:
    with opened(path, combined_line) as write:
        for _ in range(after):
            write(MISSING)
        raise KeyError("the run")


def test_old_content_stays_when_the_run_fails_before_a_line(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.write_text("old\n")
    with pytest.raises(KeyError, match="the run"):
        _fail(path, after=0)
    assert path.read_text() == "old\n"


def test_a_file_made_for_a_run_that_failed_before_a_line_goes_again(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="the run"):
        _fail(tmp_path / "out", after=0)
    assert list(tmp_path.iterdir()) == []


def test_what_was_found_before_a_failure_is_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="the run"):
        _fail(tmp_path / "out", after=2)
    assert (tmp_path / "out").read_bytes() == b'+ {"id":{"S":"a"}}\n' * 2


@pytest.mark.parametrize("make", [lambda folder: folder, lambda folder: folder / "no" / "file"])
def test_a_place_that_is_no_file_is_wrong_usage(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    path = make(tmp_path)
    with pytest.raises(UsageError, match=r"Cannot write to .*: .+"), opened(path, json_line):
        pytest.fail("it must not begin")


def test_a_full_disk_is_an_output_error_at_the_end_at_the_latest() -> None:
    full = pytest.raises(OutputError, match=r"Cannot write to /dev/full: No space left on device\.")
    with full, opened(Path("/dev/full"), json_line) as write:
        write(MISSING)


def test_a_full_disk_does_not_hide_what_ended_the_run() -> None:
    with pytest.raises(KeyError, match="the run"):
        _fail(Path("/dev/full"), after=1)


def test_stdout_gets_each_line_at_once_and_stays_open(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with opened(Path("-"), combined_line) as write:
        write(MISSING)
        assert capfdbinary.readouterr().out == b'+ {"id":{"S":"a"}}\n'
        write(EXTRANEOUS)
    assert capfdbinary.readouterr().out == b'- {"id":{"S":"a"}}\n'


def test_a_reader_that_is_gone_is_a_broken_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def write(self, _: bytes) -> int:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    class Stdout:
        buffer = Gone()

    monkeypatch.setattr("sys.stdout", Stdout())
    with pytest.raises(BrokenPipeError), opened(Path("-"), combined_line) as write:
        write(MISSING)


def test_a_file_is_gone_on_with_from_where_it_counts(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    with opened(path, json_line) as write:
        assert write.length() == 0
        write(MISSING)
        kept = write.length()
        write.sync()
        assert path.stat().st_size == kept
        write(DIFFERENT)
    with opened(path, json_line, kept) as write:
        assert (write.length(), path.stat().st_size) == (kept, kept)
        write(EXTRANEOUS)
    assert path.read_bytes() == json_line(MISSING) + json_line(EXTRANEOUS)


@pytest.mark.parametrize("there", [None, b"{}"])
def test_a_file_that_lost_what_counts_is_refused_and_left(tmp_path: Path, there: bytes | None) -> None:
    path = tmp_path / "d.jsonl"
    if there is not None:
        path.write_bytes(there)
    with pytest.raises(UsageError, match="5 bytes of it belong to the job"), opened(path, json_line, 5):
        pass
    assert (path.read_bytes() if path.exists() else None) == there


def test_a_file_stays_when_a_run_that_goes_on_with_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(b"12345678")
    with pytest.raises(LookupError), opened(path, json_line, 5):
        raise LookupError
    assert path.read_bytes() == b"12345"


def test_no_bytes_of_a_pipe_or_of_nothing_count(tmp_path: Path) -> None:
    for path in (None, Path("/dev/null")):
        with opened(path, json_line, 0) as write:
            write(MISSING)
            write.sync()
            assert write.length() == 0
    assert not list(tmp_path.iterdir())
