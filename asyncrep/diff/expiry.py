"""Which items TTL has given up: DynamoDB will delete them, in its own time."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from asyncrep.items.equality import decode_image

FIVE_YEARS = 5 * 365.25 * 24 * 3600
"""TTL ignores times further back than this, so that a mistaken attribute does not empty a table."""


def is_expired(image: bytes | None, ttl_attribute: str | None, now: float) -> bool:
    """Tell whether an item's TTL is past.

    Source: DynamoDB, "Using time to live": the attribute is a top-level Number of epoch seconds in the
    past, and no more than five years in the past.

    Args:
        image: the item, None when there is none.
        ttl_attribute: the table's TTL attribute, None when TTL is off.
        now: epoch seconds.
    """
    moment = expiry(image, ttl_attribute)
    return moment is not None and now - FIVE_YEARS < moment < now


def expiry(image: bytes | None, ttl_attribute: str | None) -> float | None:
    """Return when an item expires, in epoch seconds, which may be infinite; None when it has no such time."""
    if image is None or ttl_attribute is None:
        return None
    value = decode_image(image).get(ttl_attribute)
    if value is None or "N" not in value:
        return None
    try:
        moment = float(value["N"])
    except ValueError:
        return None
    return None if math.isnan(moment) else moment


def as_date(moment: float | None) -> datetime | None:
    """Return epoch seconds as a date, None when no calendar has it."""
    if moment is None or not math.isfinite(moment):
        return None
    try:
        return datetime.fromtimestamp(moment, UTC)
    except (OverflowError, ValueError, OSError):
        return None
