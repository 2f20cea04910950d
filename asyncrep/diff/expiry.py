"""Which items TTL has given up: DynamoDB will delete them, in its own time."""

from __future__ import annotations

from asyncrep.items.equality import decode_image

_FIVE_YEARS = 5 * 365.25 * 24 * 3600
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
    if image is None or ttl_attribute is None:
        return False
    value = decode_image(image).get(ttl_attribute)
    if value is None or "N" not in value:
        return False
    try:
        expiry = float(value["N"])
    except ValueError:
        return False
    return now - _FIVE_YEARS < expiry < now
