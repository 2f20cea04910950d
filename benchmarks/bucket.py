"""A bucket in memory, and what S3 answers about it: objects, conditions, ranges, listings, multipart uploads.

An answer is a status, its headers and its body. Only what asyncrep and the loops beside it ask for is here, and
that as S3 answers it; the bucket keeps no versions.
"""

from __future__ import annotations

import hashlib
import time
import zlib
from base64 import b64decode, b64encode
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote_plus
from xml.etree import ElementTree
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PAGE_NAMES = 1000
SMALLEST_PART = 5 * 1024 * 1024
_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_SPACE = b'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
_META = b"x-amz-meta-"


class Answer(NamedTuple):
    """What is sent back: of `headers`, those beside the length."""

    status: int
    body: bytes = b""
    headers: bytes = b""
    length: int | None = None
    """Of what a HEAD does not send."""


class Request(NamedTuple):
    """What is asked of the bucket."""

    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    """By names in lower case."""
    body: bytes


class Refused(Exception):
    """S3 refuses a request: the status and the code of the error that it answers."""

    def __init__(self, status: int, code: str, message: str = "as S3 would") -> None:
        super().__init__(code)
        self.answer = Answer(
            status,
            _XML + f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode(),
            b"Content-Type: application/xml\r\n",
        )


_FAILED = "At least one of the pre-conditions you specified did not hold"


@dataclass(frozen=True, slots=True)
class _Held:
    """One object."""

    body: bytes
    etag: str
    modified: float
    metadata: bytes = b""
    """As header lines."""

    def headers(self) -> bytes:
        return (
            f'ETag: "{self.etag}"\r\nLast-Modified: {formatdate(self.modified, usegmt=True)}\r\n'
            "Accept-Ranges: bytes\r\nContent-Type: binary/octet-stream\r\n"
        ).encode() + self.metadata


@dataclass(slots=True)
class _Upload:
    """A multipart upload that is under way."""

    key: str
    metadata: bytes
    parts: dict[int, tuple[str, bytes]] = field(default_factory=dict)


class Bucket:
    """The one bucket there is; see the module's description."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._objects: dict[str, _Held] = {}
        self._names: list[str] = []
        self._uploads: dict[str, _Upload] = {}
        self._begun = 0

    @property
    def uploads(self) -> int:
        """Multipart uploads that were neither completed nor given up."""
        return len(self._uploads)

    def hold(self, key: str, body: bytes, metadata: bytes = b"", etag: str = "") -> str:
        """Keep an object and return its ETag."""
        etag = etag or hashlib.md5(body, usedforsecurity=False).hexdigest()
        if key not in self._objects:
            self._names = []  # sorted anew with the next listing
        self._objects[key] = _Held(body, etag, time.time(), metadata)  # noqa: TID251 - S3's own time
        return etag

    def operation(self, method: bytes, request: Request) -> tuple[str, Callable[[Request], Answer]]:
        """Which operation a request asks for, and what carries it out.

        Raises:
            Refused: none that is served here, or of another bucket.
        """
        if request.bucket != self._name:
            raise Refused(404, "NoSuchBucket", "The specified bucket does not exist")
        marks = request.query.keys() & {"uploads", "uploadId", "delete", "list-type"}
        found = {
            (b"PUT", ""): ("PutObject", self._put),
            (b"GET", ""): ("GetObject", self._get),
            (b"HEAD", ""): ("HeadObject", self._head),
            (b"DELETE", ""): ("DeleteObject", self._delete),
            (b"POST", "delete"): ("DeleteObjects", self._delete_objects),
            (b"GET", "list-type"): ("ListObjectsV2", self._list),
            (b"POST", "uploads"): ("CreateMultipartUpload", self._create_upload),
            (b"PUT", "uploadId"): ("UploadPart", self._upload_part),
            (b"POST", "uploadId"): ("CompleteMultipartUpload", self._complete_upload),
            (b"DELETE", "uploadId"): ("AbortMultipartUpload", self._abort_upload),
        }.get((method, "".join(marks)))
        if found is None or (not request.key and found[0] not in {"DeleteObjects", "ListObjectsV2"}):
            raise Refused(501, "NotImplemented")
        return found

    def _put(self, request: Request) -> Answer:
        check = _check_body(request)
        self._check_conditions(request)
        etag = self.hold(request.key, request.body, _metadata(request))
        return Answer(200, headers=b'ETag: "%b"\r\n%b' % (etag.encode(), check))

    def _get(self, request: Request) -> Answer:
        held = self._held(request)
        wanted = request.headers.get(b"range")
        if wanted is None:
            return Answer(200, held.body, held.headers())
        start, behind = _range(wanted, len(held.body))
        told = b"Content-Range: bytes %d-%d/%d\r\n" % (start, behind - 1, len(held.body))
        return Answer(206, held.body[start:behind], held.headers() + told)

    def _head(self, request: Request) -> Answer:
        try:
            held = self._held(request)
        except Refused as refused:
            return Answer(refused.answer.status)
        return Answer(200, headers=held.headers(), length=len(held.body))

    def _held(self, request: Request) -> _Held:
        held = self._objects.get(request.key)
        if held is None:
            raise Refused(404, "NoSuchKey", "The specified key does not exist.")
        wanted = request.headers.get(b"if-match")
        if wanted is not None and wanted.strip(b'"') != held.etag.encode():
            raise Refused(412, "PreconditionFailed", _FAILED)
        return held

    def _delete(self, request: Request) -> Answer:
        if b"if-match" in request.headers:
            self._held(request)
        self._forget(request.key)
        return Answer(204)

    def _delete_objects(self, request: Request) -> Answer:
        wanted = ElementTree.fromstring(request.body)
        for key in wanted.iterfind("{*}Object/{*}Key"):
            self._forget(key.text or "")
        return _document(b"DeleteResult", b"")

    def _forget(self, key: str) -> None:
        if self._objects.pop(key, None) is not None:
            self._names = []

    def _list(self, request: Request) -> Answer:
        query = request.query
        prefix, most = query.get("prefix", ""), min(int(query.get("max-keys", PAGE_NAMES)), PAGE_NAMES)
        after = query.get("continuation-token") or query.get("start-after", "")
        if not self._names:
            self._names = sorted(self._objects)  # by code points: the order of their UTF-8 bytes
        place = max(bisect_left(self._names, prefix), bisect_right(self._names, after))
        lines, told, is_truncated = self._page(place, prefix, query.get("delimiter", ""), most)
        more = b"<NextContinuationToken>%b</NextContinuationToken>" % told if is_truncated else b""
        head = b"<Name>%b</Name><Prefix>%b</Prefix><KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys>" % (
            self._name.encode(),
            quote_plus(prefix, safe="/").encode(),
            len(lines),
            most,
        )
        flags = b"<EncodingType>url</EncodingType><IsTruncated>%b</IsTruncated>" % (
            b"true" if is_truncated else b"false"
        )
        return _document(b"ListBucketResult", head + flags + more + b"".join(lines))

    def _page(self, place: int, prefix: str, delimiter: str, most: int) -> tuple[list[bytes], bytes, bool]:
        """Entries and common prefixes from a place on, what comes last, and whether there are more."""
        lines: list[bytes] = []
        last = ""
        while place < len(self._names) and (name := self._names[place]).startswith(prefix):
            if len(lines) == most:
                return lines, escape(last).encode(), True
            end = name.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                lines.append(_entry(name, self._objects[name]))
                last, place = name, place + 1
            else:
                folder = name[: end + len(delimiter)]
                lines.append(b"<CommonPrefixes><Prefix>%b</Prefix></CommonPrefixes>" % _quoted(folder))
                last = folder + chr(0x10FFFF)
                place = bisect_right(self._names, last)
        return lines, b"", False

    def _create_upload(self, request: Request) -> Answer:
        self._begun += 1
        upload_id = f"upload-{self._begun}"
        self._uploads[upload_id] = _Upload(request.key, _metadata(request))
        body = b"<Bucket>%b</Bucket><Key>%b</Key><UploadId>%b</UploadId>"
        return _document(
            b"InitiateMultipartUploadResult",
            body % (self._name.encode(), escape(request.key).encode(), upload_id.encode()),
        )

    def _upload(self, request: Request) -> _Upload:
        upload = self._uploads.get(request.query["uploadId"])
        if upload is None or upload.key != request.key:
            raise Refused(404, "NoSuchUpload", "The specified multipart upload does not exist.")
        return upload

    def _upload_part(self, request: Request) -> Answer:
        check = _check_body(request)
        etag = hashlib.md5(request.body, usedforsecurity=False).hexdigest()
        self._upload(request).parts[int(request.query["partNumber"])] = (etag, request.body)
        return Answer(200, headers=b'ETag: "%b"\r\n%b' % (etag.encode(), check))

    def _complete_upload(self, request: Request) -> Answer:
        upload = self._upload(request)
        self._check_conditions(request)
        bodies, digests = [], b""
        for part in ElementTree.fromstring(request.body).iterfind("{*}Part"):
            number = int(part.findtext("{*}PartNumber", "0"))
            etag, body = upload.parts.get(number, ("", b""))
            if not etag or part.findtext("{*}ETag", "").strip('"') != etag:
                raise Refused(400, "InvalidPart", "One or more of the specified parts could not be found.")
            bodies.append(body)
            digests += bytes.fromhex(etag)
        if any(len(body) < SMALLEST_PART for body in bodies[:-1]):
            raise Refused(
                400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size"
            )
        del self._uploads[request.query["uploadId"]]
        etag = f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(bodies)}"
        self.hold(request.key, b"".join(bodies), upload.metadata, etag)
        body = b"<Bucket>%b</Bucket><Key>%b</Key><ETag>&quot;%b&quot;</ETag>"
        return _document(
            b"CompleteMultipartUploadResult",
            body % (self._name.encode(), escape(request.key).encode(), etag.encode()),
        )

    def _abort_upload(self, request: Request) -> Answer:
        self._upload(request)
        del self._uploads[request.query["uploadId"]]
        return Answer(204)

    def _check_conditions(self, request: Request) -> None:
        if b"if-none-match" in request.headers and request.key in self._objects:
            raise Refused(412, "PreconditionFailed", _FAILED)
        if b"if-match" in request.headers:
            self._held(request)


def _metadata(request: Request) -> bytes:
    return b"".join(
        b"%b: %b\r\n" % header for header in request.headers.items() if header[0].startswith(_META)
    )


def _check_body(request: Request) -> bytes:
    """Believe a body that matches what was sent to check it by, and answer as S3 does: with the CRC-32."""
    crc = b64encode(zlib.crc32(request.body).to_bytes(4, "big"))
    if request.headers.get(b"x-amz-checksum-crc32", crc) != crc:
        raise Refused(400, "BadDigest", "The CRC32 you specified did not match the calculated checksum.")
    md5 = request.headers.get(b"content-md5")
    if md5 is not None and b64decode(md5) != hashlib.md5(request.body, usedforsecurity=False).digest():
        raise Refused(400, "BadDigest", "The Content-MD5 you specified did not match what we received.")
    return b"x-amz-checksum-crc32: %b\r\n" % crc if b"x-amz-checksum-crc32" in request.headers else b""


def _range(wanted: bytes, size: int) -> tuple[int, int]:
    first, _, last = wanted.removeprefix(b"bytes=").partition(b"-")
    start = int(first) if first else max(size - int(last), 0)
    behind = min(int(last) + 1, size) if first and last else size
    if start >= size:
        raise Refused(416, "InvalidRange", "The requested range is not satisfiable")
    return start, behind


def _document(name: bytes, content: bytes) -> Answer:
    return Answer(
        200, _XML + b"<%b %b>%b</%b>" % (name, _SPACE, content, name), b"Content-Type: application/xml\r\n"
    )


def _entry(name: str, held: _Held) -> bytes:
    modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(held.modified))
    told = (modified.encode(), held.etag.encode(), len(held.body))
    return (
        b"<Contents><Key>%b</Key><LastModified>%b</LastModified><ETag>&quot;%b&quot;</ETag><Size>%d</Size>"
        b"<StorageClass>STANDARD</StorageClass></Contents>"
    ) % (_quoted(name), *told)


def _quoted(name: str) -> bytes:
    return quote_plus(name, safe="/").encode()
