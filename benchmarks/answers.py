"""What the canned endpoint answers to each DynamoDB operation: bodies, refusals and the units they cost."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from benchmarks import stream
from benchmarks.made_tables import MadeTables
from benchmarks.stream_answers import StreamAnswers
from tests.support.values import ServiceError

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Mapping, Sequence

    from benchmarks.stream import Stream
    from benchmarks.tables import Pages, Table

_UNIT_BYTES = 4096
_WRITE_UNIT_BYTES = 1024
_BATCH_KEYS = 100
_ERRORS = "com.amazonaws.dynamodb.v20120810#"


class Refusal(Exception):
    """A request that DynamoDB would answer with status 400; `code` is the name of its exception."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def body(self) -> bytes:
        """The error as DynamoDB words it."""
        return msgspec.json.encode({"__type": _ERRORS + self.code, "message": str(self)})


class Projecting(msgspec.Struct, rename="pascal", omit_defaults=True):
    """What every reading request may say about the attributes and the consistency it wants."""

    consistent_read: bool = False
    projection_expression: str | None = None
    expression_attribute_names: dict[str, str] = {}

    def keys_only(self, table: Table) -> bool:
        """Whether only the key attributes are wanted.

        Raises:
            Refusal: other attributes are named: there are no pages for that.
        """
        if self.projection_expression is None:
            return False
        words = (word.strip() for word in self.projection_expression.split(","))
        wanted = {self.expression_attribute_names.get(word, word) for word in words}
        if wanted != set(table.key_attributes):
            code = "ValidationException"
            raise Refusal(code, f"only the key can be projected here, not {sorted(wanted)}")
        return True


class ScanRequest(Projecting, rename="pascal", kw_only=True):
    """The parts of a Scan that are understood; filters are refused."""

    table_name: str
    segment: int = 0
    total_segments: int = 1
    exclusive_start_key: dict[str, dict[str, str]] | None = None
    limit: int | None = None
    filter_expression: str | None = None
    return_consumed_capacity: str = "NONE"


class KeysOfTable(Projecting, rename="pascal", kw_only=True, omit_defaults=True):
    """What a BatchGetItem wants of one table; `keys` stay raw so that unprocessed ones go back as they came."""

    keys: list[msgspec.Raw]


class BatchGetRequest(msgspec.Struct, rename="pascal"):
    """A BatchGetItem."""

    request_items: dict[str, KeysOfTable]
    return_consumed_capacity: str = "NONE"


class TableRequest(msgspec.Struct, rename="pascal"):
    """The parts that all other requests share."""

    table_name: str = ""
    key: dict[str, Any] = {}
    request_items: dict[str, list[msgspec.Raw]] = {}
    consistent_read: bool = False
    return_consumed_capacity: str = "NONE"


@dataclass(slots=True)
class Statistics:
    """Requests, read units and written items of one operation since the endpoint started."""

    requests: int = 0
    read_units: float = 0.0
    items_written: int = 0


@dataclass
class Answers:
    """Two tables behind DynamoDB's operations; `throttle` is the share of data requests that are refused.

    `stream` is the primary's. Other tables can be made, for what contestants note.
    """

    tables: Mapping[str, Pages]
    stream: Stream
    randomness: random.Random
    throttle: float = 0.0
    statistics: dict[str, Statistics] = field(default_factory=dict)
    made: MadeTables = field(default_factory=MadeTables)

    def __post_init__(self) -> None:
        self._scan_request = msgspec.json.Decoder(ScanRequest)
        self._batch_request = msgspec.json.Decoder(BatchGetRequest)
        self._table_request = msgspec.json.Decoder(TableRequest)
        self._key = msgspec.json.Decoder(dict[str, dict[str, str]])
        self._of_stream = StreamAnswers(self.stream)
        self._operations: dict[str, Callable[[bytes], bytes]] = {
            "DescribeTable": self._describe_table,
            "DescribeTimeToLive": self._describe_time_to_live,
            "DescribeGlobalTable": self._describe_global_table,
            "ListTables": self._list_tables,
            "Scan": self._scan,
            "BatchGetItem": self._batch_get,
            "GetItem": self._get_item,
            "BatchWriteItem": self._batch_write,
            "PutItem": self._put,
            "UpdateItem": self._write,
            "DeleteItem": self._delete,
            "TransactWriteItems": self._transact,
            "CreateTable": self._create_table,
            "UpdateTimeToLive": self._update_time_to_live,
            **self._of_stream.operations,
        }

    @property
    def operations(self) -> Collection[str]:
        """Names of the operations that are answered."""
        return self._operations.keys()

    def answer(self, operation: str, body: bytes) -> tuple[int, bytes]:
        """Status and body for one request."""
        statistics = self.statistics.setdefault(operation, Statistics())
        statistics.requests += 1
        try:
            return 200, self._of_made(operation, body) or self._operations[operation](body)
        except Refusal as refusal:
            return 400, refusal.body()
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            return 400, Refusal("ValidationException", f"not understood: {error!r}").body()

    def _of_made(self, operation: str, body: bytes) -> bytes | None:
        """The answer of a table that was made, None where it is none of them that is asked for."""
        if not self.made or operation not in self.made.operations:
            return None
        if self._table_request.decode(body).table_name not in self.made:
            return None
        return self._made_answer(self.made.operations[operation], body)

    def _made_answer(self, operation: Callable[[dict[str, Any]], dict[str, Any]], body: bytes) -> bytes:
        try:
            return msgspec.json.encode(operation(msgspec.json.decode(body)))
        except ServiceError as error:
            raise Refusal(error.code, error.message) from error

    def _create_table(self, body: bytes) -> bytes:
        return self._made_answer(self.made.create, body)

    def _update_time_to_live(self, body: bytes) -> bytes:
        self._table(self._table_request.decode(body).table_name)
        raise Refusal("ValidationException", "only tables that were made have a TTL")

    def _describe_table(self, body: bytes) -> bytes:
        table = self._table(self._table_request.decode(body).table_name).table
        items = table.layout.items
        types = {"id": "S", "created": "N"}
        roles = zip(table.key_attributes, ("HASH", "RANGE"), strict=False)
        description = {
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": types[name]} for name in table.key_attributes
            ],
            "TableName": table.name,
            "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in roles],
            "TableStatus": "ACTIVE",
            "CreationDateTime": 1_700_000_000.0,
            "ProvisionedThroughput": {
                "NumberOfDecreasesToday": 0,
                "ReadCapacityUnits": 0,
                "WriteCapacityUnits": 0,
            },
            "TableSizeBytes": items * table.layout.item_bytes,
            "ItemCount": items,
            "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{table.name}",
            "TableId": f"00000000-0000-4000-8000-{zlib.crc32(table.name.encode()):012d}",
            "BillingModeSummary": {"BillingMode": "PAY_PER_REQUEST"},
            "DeletionProtectionEnabled": False,
        }
        if table.name == "primary" and self.stream.shards:
            description["LatestStreamArn"] = stream.ARN
            description["StreamSpecification"] = {
                "StreamEnabled": True,
                "StreamViewType": "NEW_AND_OLD_IMAGES",
            }
        return msgspec.json.encode({"Table": description})

    def _describe_time_to_live(self, body: bytes) -> bytes:
        self._table(self._table_request.decode(body).table_name)
        return b'{"TimeToLiveDescription":{"TimeToLiveStatus":"DISABLED"}}'

    def _describe_global_table(self, _body: bytes) -> bytes:
        raise Refusal("GlobalTableNotFoundException", "there are no global tables here")

    def _list_tables(self, _body: bytes) -> bytes:
        return msgspec.json.encode({"TableNames": sorted(self.tables)})

    def _scan(self, body: bytes) -> bytes:
        request = self._scan_request.decode(body)
        pages = self._table(request.table_name)
        table = pages.table
        if request.filter_expression is not None:
            raise Refusal("ValidationException", "filters are not served here")
        keys_only = request.keys_only(table)
        self._maybe_throttle()
        start, behind = table.segment(request.segment, request.total_segments)
        if request.exclusive_start_key is not None:
            found = table.find(request.exclusive_start_key)
            if found is None or not start <= found < behind:
                raise Refusal("ValidationException", "The provided starting key is outside the segment")
            start = found + 1
        most = min(request.limit or table.layout.page_items, table.layout.page_items)
        runs, count, end = pages.page(start, behind, most, keys_only=keys_only)
        units = _scan_units(count * table.layout.item_bytes, strong=request.consistent_read)
        self.statistics["Scan"].read_units += units
        parts = [b'{"Count":%d,"Items":[' % count, b",".join(runs), b'],"ScannedCount":%d' % count]
        if count == most:
            parts += (b',"LastEvaluatedKey":', table.key(end - 1))
        if request.return_consumed_capacity != "NONE":
            parts += (b',"ConsumedCapacity":', _capacity(table.name, units))
        return b"".join((*parts, b"}"))

    def _batch_get(self, body: bytes) -> bytes:
        request = self._batch_request.decode(body)
        if sum(len(wanted.keys) for wanted in request.request_items.values()) > _BATCH_KEYS:
            raise Refusal("ValidationException", "Too many items requested for the BatchGetItem call")
        leave_half = self._maybe_throttle(partly=True)
        responses: dict[str, msgspec.Raw] = {}
        unprocessed: dict[str, KeysOfTable] = {}
        capacities: list[msgspec.Raw] = []
        for name, wanted in request.request_items.items():
            if leave_half:
                half = len(wanted.keys) // 2
                unprocessed[name] = msgspec.structs.replace(wanted, keys=wanted.keys[half:])
                wanted.keys = wanted.keys[:half]
            pages = self._table(name)
            items, units = self._items_of(pages, wanted)
            self.statistics["BatchGetItem"].read_units += units
            responses[name] = msgspec.Raw(b"[" + b",".join(items) + b"]")
            capacities.append(msgspec.Raw(_capacity(pages.table.name, units)))
        answer: dict[str, Any] = {"Responses": responses, "UnprocessedKeys": unprocessed}
        if request.return_consumed_capacity != "NONE":
            answer["ConsumedCapacity"] = capacities
        return msgspec.json.encode(answer)

    def _items_of(self, pages: Pages, wanted: KeysOfTable) -> tuple[Sequence[bytes], float]:
        """Items of those keys that the table holds, last key first as no order is promised, and their units."""
        table = pages.table
        keys_only = wanted.keys_only(table)
        missed, held = _get_units(table, strong=wanted.consistent_read)
        items, units, seen = [], 0.0, set()
        for raw in reversed(wanted.keys):
            slot = table.find(self._key.decode(raw))
            if slot in seen and slot is not None:
                raise Refusal("ValidationException", "Provided list of item keys contains duplicates")
            seen.add(slot)
            if slot is None or not table.holds(slot):
                units += missed
                continue
            units += held
            items.append(table.key(slot) if keys_only else pages.item(slot))
        return items, units

    def _get_item(self, body: bytes) -> bytes:
        request = self._table_request.decode(body)
        table = self._table(request.table_name).table
        self._maybe_throttle()
        slot = table.find(request.key)
        units, held = _get_units(table, strong=request.consistent_read)
        answer: dict[str, Any] = {}
        if slot is not None and table.holds(slot):
            units = held
            answer["Item"] = msgspec.Raw(table.item(slot))
        self.statistics["GetItem"].read_units += units
        if request.return_consumed_capacity != "NONE":
            answer["ConsumedCapacity"] = msgspec.Raw(_capacity(table.name, units))
        return msgspec.json.encode(answer)

    def _put(self, body: bytes) -> bytes:
        answer = self._write(body)
        self.statistics["PutItem"].items_written += 1
        return answer

    def _delete(self, body: bytes) -> bytes:
        answer = self._write(body)
        self.statistics["DeleteItem"].items_written += 1
        return answer

    def _transact(self, body: bytes) -> bytes:
        self._maybe_throttle()
        answer, written = self._of_stream.transact(body)
        self.statistics["TransactWriteItems"].items_written += written
        return answer

    def _write(self, body: bytes) -> bytes:
        request = self._table_request.decode(body)
        table = self._table(request.table_name).table
        self._maybe_throttle()
        if request.return_consumed_capacity == "NONE":
            return b"{}"
        return b'{"ConsumedCapacity":%s}' % _capacity(table.name, _write_units(table))

    def _batch_write(self, body: bytes) -> bytes:
        request = self._table_request.decode(body)
        self._maybe_throttle()
        answer: dict[str, Any] = {"UnprocessedItems": {}}
        capacities = []
        for name, writes in request.request_items.items():
            table = self._table(name).table
            capacities.append(msgspec.Raw(_capacity(table.name, len(writes) * _write_units(table))))
            self.statistics["BatchWriteItem"].items_written += len(writes)
        if request.return_consumed_capacity != "NONE":
            answer["ConsumedCapacity"] = capacities
        return msgspec.json.encode(answer)

    def _table(self, name: str) -> Pages:
        pages = self.tables.get(name.rpartition("/")[2])
        if pages is None:
            raise Refusal(
                "ResourceNotFoundException", f"Requested resource not found: Table: {name} not found"
            )
        return pages

    def _maybe_throttle(self, *, partly: bool = False) -> bool:
        """Refuse a share of requests; with `partly`, every second time leave half of it undone instead (True)."""
        if self.throttle == 0 or self.randomness.random() >= self.throttle:
            return False
        if partly and self.randomness.random() < 0.5:
            return True
        message = "The level of configured provisioned throughput for the table was exceeded."
        raise Refusal("ProvisionedThroughputExceededException", message)


def _get_units(table: Table, *, strong: bool) -> tuple[float, float]:
    """What reading by key charges where there is no item, and where there is one."""
    per_unit = 1.0 if strong else 0.5
    return per_unit, per_unit * -(-table.layout.item_bytes // _UNIT_BYTES)


def _write_units(table: Table) -> float:
    """What a write charges, taking for granted that an item of the table's own size is written."""
    return float(-(-table.layout.item_bytes // _WRITE_UNIT_BYTES))


def _scan_units(charged: int, *, strong: bool) -> float:
    return -(-charged // _UNIT_BYTES) * (1.0 if strong else 0.5)


def _capacity(table: str, units: float) -> bytes:
    return b'{"TableName":"%s","CapacityUnits":%.1f}' % (table.encode(), units)
