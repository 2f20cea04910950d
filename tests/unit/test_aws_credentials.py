"""Sessions of our own share what was read of AWS, and nothing else."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ProfileNotFound
from botocore.loaders import JSONFileLoader

from asyncrep.aws import credentials
from asyncrep.aws.credentials import session_of_keys, session_of_profile

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A config file with a profile; nothing was read yet."""
    credentials._loader.cache_clear()
    path = tmp_path / "config"
    path.write_text(f"""
[profile other]
aws_access_key_id = c
aws_secret_access_key = d
region = eu-west-1
data_path = {tmp_path / "models"}
""")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))


async def test_a_file_is_read_once_for_all_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    load_file = JSONFileLoader.load_file

    def counted(self: JSONFileLoader, path: str) -> object:
        found = load_file(self, path)
        read[path] += found is not None
        return found

    monkeypatch.setattr(JSONFileLoader, "load_file", counted)
    for session in (session_of_profile(None), session_of_keys("a", "b")):
        async with session.client("dynamodb", region_name="us-east-1"):
            pass
    assert any(path.endswith("endpoints") for path in read)
    assert max(read.values()) == 1


async def test_credentials_are_each_session_s_own() -> None:
    others, ours = session_of_profile("other"), session_of_keys("a", "b")
    assert ((await others.get_credentials()).access_key, others.region_name) == ("c", "eu-west-1")
    assert ((await ours.get_credentials()).access_key, ours.region_name) == ("a", None)


def test_a_profile_s_own_models_are_not_those_of_others(tmp_path: Path) -> None:
    model = tmp_path / "models" / "ours" / "2020-01-01" / "service-2.json"
    model.parent.mkdir(parents=True)
    model.write_text("{}")
    assert "ours" in session_of_profile("other").get_available_services()
    assert "ours" not in session_of_profile(None).get_available_services()


def test_where_models_are_looked_for_does_not_grow_with_sessions() -> None:
    for _ in range(5):
        session_of_keys("a", "b")
    paths = credentials._loader(None).search_paths
    assert len(paths) == len(set(paths))


def test_a_profile_that_is_not_there_is_missed_at_once() -> None:
    with pytest.raises(ProfileNotFound, match="nobody"):
        session_of_profile("nobody")
