"""What S3 answers in XML: pages of listings, and errors, which become what botocore raises."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Listed(NamedTuple):
    """An object as a listing tells of it; ``key`` is its whole name."""

    key: str
    size: int
    etag: str
    modified: float


class ListPage(NamedTuple):
    """A page of a listing: objects, what names have in common up to the delimiter, and where to go on."""

    objects: list[Listed]
    prefixes: list[str]
    token: str | None


def refusal(status: int, headers: Mapping[str, str], body: bytes, operation: str) -> Exception:
    """Return what botocore raises for an answer."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    told = {"Code": str(status), "Message": ""}
    # The answer to a HEAD has no body, and that of a proxy is something else.
    with suppress(ElementTree.ParseError):
        root = ElementTree.fromstring(body)
        space = root.tag.removesuffix("Error")
        told |= {each.tag.removeprefix(space): each.text or "" for each in root}
    answer: Any = {
        "Error": told,
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": dict(headers)},
    }
    return ClientError(answer, operation)


def read_page(body: bytes) -> ListPage:
    """Read a page of a listing.

    Raises:
        ResponseParserError: it is none.
    """
    from botocore.parsers import ResponseParserError  # noqa: PLC0415

    try:
        root = ElementTree.fromstring(body)
        space = root.tag.removesuffix("ListBucketResult")
        told = {each.tag.removeprefix(space): each.text or "" for each in root}
        text = unquote_plus if told.get("EncodingType") == "url" else str
        objects = [_listed(each, space, text) for each in root.iterfind(f"{space}Contents")]
        prefixes = [text(each.text or "") for each in root.iterfind(f"{space}CommonPrefixes/{space}Prefix")]
        is_truncated = told["IsTruncated"] == "true"
        return ListPage(objects, prefixes, told["NextContinuationToken"] if is_truncated else None)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ResponseParserError(f"Unable to parse response ({error}), invalid XML received.") from error


def _listed(contents: ElementTree.Element, space: str, text: Callable[[str], str]) -> Listed:
    told = {part.tag: part.text or "" for part in contents}
    modified = datetime.fromisoformat(told[f"{space}LastModified"]).timestamp()
    return Listed(text(told[f"{space}Key"]), int(told[f"{space}Size"]), told[f"{space}ETag"], modified)


def page_of(told: Mapping[str, Any]) -> ListPage:
    """Return what botocore has read."""
    objects = [
        Listed(each["Key"], each["Size"], each["ETag"], each["LastModified"].timestamp())
        for each in told.get("Contents", [])
    ]
    prefixes = [each["Prefix"] for each in told.get("CommonPrefixes", [])]
    return ListPage(objects, prefixes, told["NextContinuationToken"] if told.get("IsTruncated") else None)
