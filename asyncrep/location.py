"""Where a table or a file is: the forms of a location that users may write, and nothing about its content."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from asyncrep.errors import LocationError

_TABLE_NAME = re.compile(r"[A-Za-z0-9_.-]{3,255}")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-[0-9]+")
_ARN = re.compile(r"arn:(?:aws|aws-[a-z-]+):dynamodb:([^:/]+):([0-9]{12}):table/([^/]+)")
_SERVICE_HOST = re.compile(
    r"(?:vpce-[a-z0-9-]+\.dynamodb|dynamodb(?:-fips)?|[0-9]{12}\.ddb)\.([a-z0-9-]+)"
    r"\.(?:(?:vpce\.)?amazonaws\.com(?:\.cn)?|api\.aws)"
)

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

FORMS = (
    "REGION/TABLE, arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE, HOST:PORT/TABLE or http(s)://HOST:PORT/TABLE"
)


@dataclass(frozen=True, slots=True)
class TableRef:
    """The location of one table.

    Attributes:
        table: the table's name, without anything else.
        region: the AWS Region, or None when the location leaves it to the environment.
        endpoint_url: the endpoint to talk to, or None for the Region's own.
        arn: the table's ARN, when it was named by one. Requests then name the table by it, which is
            what reaches a table of another account.
    """

    table: str
    region: str | None = None
    endpoint_url: str | None = None
    arn: str | None = None

    @classmethod
    def parse(cls, text: str, *, endpoint_url: str | None = None) -> TableRef:
        """Read a location; ``endpoint_url`` serves locations that name no endpoint themselves.

        Raises:
            LocationError: with one sentence that names the part that is wrong.
        """
        if "@" in text:
            raise LocationError(
                "A table location holds no user or password; credentials come from AWS's settings."
            )
        if text.startswith("arn:"):
            return cls._from_arn(text, endpoint_url)
        if "://" in text:
            return cls._from_url(text, text)
        place, slash, table = text.partition("/")
        if not slash:
            raise LocationError(f'"{text}" is not a table location; write it as {FORMS}.')
        if ":" in place:
            return cls._from_url(f"http://{text}", text)
        if not _REGION.fullmatch(place):
            raise LocationError(f'"{place}" in "{text}" is not a Region; write the table as {FORMS}.')
        return cls(_table_name(table, text), place, endpoint_url)

    @classmethod
    def _from_arn(cls, text: str, endpoint_url: str | None) -> TableRef:
        found = _ARN.fullmatch(text)
        if found is None:
            raise LocationError(
                f'"{text}" is not a table\'s ARN; it looks like arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE.'
            )
        region, _account, table = found.groups()
        if not _REGION.fullmatch(region):
            raise LocationError(f'"{region}" in "{text}" is not a Region.')
        return cls(_table_name(table, text), region, endpoint_url, text)

    @classmethod
    def _from_url(cls, address: str, text: str) -> TableRef:
        if any(character.isspace() or not character.isprintable() for character in text):
            raise LocationError(f"A table location holds no blanks or control characters: {text!r}")
        try:
            url = urlsplit(address)
            port = url.port
        except ValueError as error:
            raise LocationError(f'"{text}" is not a table location: {error}.') from error
        is_plain = url.scheme in {"http", "https"} and url.hostname and not url.query and not url.fragment
        if not is_plain or url.netloc.endswith(":"):
            raise LocationError(f'"{text}" is not a table location; write it as {FORMS}.')
        region = _SERVICE_HOST.fullmatch(url.hostname or "")
        # HOST:PORT/TABLE came here with http:// put before it: then a port is what makes it one.
        if port is None and region is None and url.hostname != "localhost" and url.scheme == "http":
            raise LocationError(f'"{text}" names no port; write the table as {FORMS}.')
        table = _table_name(url.path.removeprefix("/"), text)
        return cls(table, region and region[1], f"{url.scheme}://{url.netloc}")

    def __str__(self) -> str:
        """Return the location as a user would write it."""
        if self.arn:
            return self.arn
        if self.region:
            return f"{self.region}/{self.table}"
        endpoint = self.endpoint_url or ""
        place = endpoint.removeprefix("http://")
        return f"{place if ':' in place else endpoint}/{self.table}"


def _table_name(name: str, text: str) -> str:
    if not _TABLE_NAME.fullmatch(name):
        raise LocationError(
            f'"{name}" in "{text}" is not a table name: 3 to 255 letters, digits, "_", "-" and "." are allowed.'
        )
    return name


@dataclass(frozen=True, slots=True)
class S3Place:
    """A name in an S3 bucket, under which one object or many are kept.

    Attributes:
        prefix: without a slash at either end; empty for the whole bucket. To S3 every character is just
            one, also ``..`` and line breaks: whoever shows it to a person has to mind that.
    """

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> S3Place:
        """Read ``s3://BUCKET/PREFIX``; slashes at the ends of the prefix are dropped.

        Raises:
            LocationError: with one sentence that names the part that is wrong.
        """
        scheme, separator, rest = text.partition("://")
        if not separator or scheme.lower() != "s3":
            raise LocationError(f'"{text}" is not a place in S3; write it as s3://BUCKET/PREFIX.')
        bucket, _, prefix = rest.partition("/")
        if not bucket:
            raise LocationError(f'"{text}" names no bucket; write it as s3://BUCKET/PREFIX.')
        if not _BUCKET.fullmatch(bucket) or ".." in bucket:
            raise LocationError(
                f'"{bucket}" in "{text}" is not a bucket name: 3 to 63 lower-case letters, digits, "-" and ".", '
                "with a letter or digit at both ends, are allowed."
            )
        return cls(bucket, prefix.strip("/"))

    def under(self, name: str) -> str:
        """Return the whole name of what has ``name`` under this place."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def __str__(self) -> str:
        """Return the place as a user would write it."""
        return f"s3://{self.bucket}/{self.prefix}" if self.prefix else f"s3://{self.bucket}"


def parse_storage(text: str) -> Path | S3Place:
    """Read where something is kept: ``s3://BUCKET/PREFIX``, ``file:///PATH`` or a plain path.

    Raises:
        LocationError: it is none of these.
    """
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise LocationError(f"{text!r} is not a path: it is no UTF-8.")  # nor could a journal or job name it
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.lower().startswith("s3:"):  # a slip; a file of such a name is written as ./s3:…
            raise LocationError(f'"{text}" is not a place in S3; write it as s3://BUCKET/PREFIX.')
        if not text or "\0" in text:
            raise LocationError(f"{text!r} is not a path.")
        return Path(text)
    match scheme.lower():
        case "s3":
            return S3Place.parse(text)
        case "file" if rest.startswith("/") and "\0" not in unquote(rest):
            return Path(unquote(rest))
        case "file":
            raise LocationError(f'"{text}" is not a local file; write it as file:///PATH.')
        case _:
            raise LocationError(f'"{text}" is no place for a file; write s3://BUCKET/PREFIX or a path.')
