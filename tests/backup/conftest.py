"""Fixtures of the tests of backups: a bucket that keeps versions, and S3 at its endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.buckets import Bucket, bucket_on

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A bucket of one's own; the environment says where S3, and DynamoDB, are."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    with bucket_on(moto_url) as bucket:
        yield bucket
