"""Tables are opened with the caller's means, leave nothing behind, and the seam to botocore holds."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import aioboto3
import pytest

from asyncrep import (
    CredentialsError,
    LocationError,
    RetryPolicy,
    Segment,
    TableNotFoundError,
    UnreachableError,
    VirtualClock,
    diff,
    open_table,
)
from asyncrep.aws.session import BODY, open_client
from asyncrep.location import TableRef
from tests.support.scenario import PRIMARY, item, items, key, scene

WHERE = f"{PRIMARY}/orders"
ARN = f"arn:aws:dynamodb:{PRIMARY}:123456789012:table/orders"


@pytest.fixture
def options(endpoint):
    return {"endpoint_url": endpoint.url, "clock": VirtualClock(), "retry": RetryPolicy(attempts=2)}


async def scanned(table) -> int:
    return sum([len(page.images) async for page in table.pages(Segment(0, 1))])


async def test_settings_are_read_when_a_table_is_opened(endpoint, options):
    endpoint.create_table("orders", hash=("h", "N"), range=("r", "B"), ttl="expires", items=[])
    async with open_table(WHERE, **options) as table:
        assert str(table.settings.schema) == "h (N) + r (B)"
        assert table.settings.ttl_attribute == "expires"
        assert table.label == WHERE


@pytest.mark.parametrize(
    ("location", "where"), [(WHERE, PRIMARY), (ARN, PRIMARY), ("eu-west-1/orders", "eu-west-1")]
)
async def test_the_region_is_the_location_s(endpoint, options, location, where):
    stored = endpoint.create_table("orders", where, items=[item("a")])
    endpoint._tables[where, ARN] = stored
    async with open_table(location, **options) as table:
        assert table.settings.name == "orders"
    assert {call.region for call in endpoint.calls} == {where}


async def test_a_table_named_by_its_arn_is_named_so_in_every_request(endpoint, options):
    endpoint._tables[PRIMARY, ARN] = endpoint.create_table("orders", items=items(3))
    async with open_table(ARN, **options) as table:
        assert await scanned(table) == 3
        assert len(await table.get([key("k000"), key("k001")], consistent=True)) == 2
    assert {call.table for call in endpoint.calls} == {ARN}


async def test_an_endpoint_with_its_port_is_a_location(endpoint):
    endpoint.create_table("orders", items=items(3))
    async with open_table(f"{endpoint.url.removeprefix('http://')}/orders") as table:
        assert await scanned(table) == 3


async def test_an_unknown_form_is_refused_before_any_call(endpoint, options):
    with pytest.raises(LocationError):
        async with open_table("orders", **options):
            pass
    assert endpoint.calls == []


async def test_an_unknown_table_is_told_in_one_sentence(endpoint, options):
    with pytest.raises(TableNotFoundError, match="There is no table us-east-1/orders"):
        async with open_table(WHERE, **options):
            pass
    assert endpoint.count("DescribeTable") == 1


async def test_a_table_that_is_being_deleted_is_none(endpoint, options):
    endpoint.create_table("orders").description["TableStatus"] = "DELETING"
    with pytest.raises(TableNotFoundError, match="cannot be read now: it is DELETING"):
        async with open_table(WHERE, **options):
            pass


async def test_a_service_that_nobody_runs_is_unreachable(unused_tcp_port):
    clock = VirtualClock()
    with pytest.raises(UnreachableError, match="DescribeTable on 127"):
        async with open_table(f"127.0.0.1:{unused_tcp_port}/orders", clock=clock):
            pass
    assert len(clock.slept) == 2, "a wrong host is not worth a dozen tries"


async def test_no_credentials_are_told_in_one_sentence(monkeypatch, endpoint, options):
    endpoint.create_table("orders")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match="No AWS credentials for us-east-1/orders"):
        async with open_table(WHERE, **options):
            pass
    assert endpoint.calls == []


async def test_half_of_the_credentials_are_told_in_one_sentence(monkeypatch, endpoint, options):
    endpoint.create_table("orders")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError):
        async with open_table(WHERE, **options):
            pass


async def test_an_unknown_profile_is_told_in_one_sentence(options):
    with pytest.raises(CredentialsError, match="nobody"):
        async with open_table(WHERE, profile="nobody", **options):
            pass


async def test_failing_to_read_ttl_for_a_moment_does_not_turn_it_off(endpoint, options):
    endpoint.create_table("orders", ttl="expires")
    endpoint.on("DescribeTimeToLive", times=2).throttle()
    async with open_table(WHERE, **options | {"retry": RetryPolicy(attempts=6)}) as table:
        assert table.settings.ttl_attribute == "expires"


async def test_credentials_that_may_not_read_ttl_are_enough(endpoint, options):
    endpoint.create_table("orders", ttl="expires")
    endpoint.on("DescribeTimeToLive", times=None).error("AccessDeniedException")
    async with open_table(WHERE, **options) as table:
        assert table.settings.ttl_attribute is None


async def test_the_caller_s_session_stays_as_it_was(endpoint, options):
    endpoint.create_table("orders", items=items(3))
    session = aioboto3.Session()

    async def own_client_works():
        async with session.client("dynamodb", region_name=PRIMARY, endpoint_url=endpoint.url) as client:
            endpoint.on("Scan").error("InternalServerError", 500)
            answer = await client.scan(TableName="orders")
            assert BODY not in answer
            assert sorted(found["id"]["S"] for found in answer["Items"]) == ["k000", "k001", "k002"]

    async with open_table(WHERE, session=session, **options) as table:
        assert await scanned(table) == 3
        await own_client_works()
    await own_client_works()


async def test_nothing_is_left_when_a_table_is_closed(endpoint, options, recwarn):
    before = asyncio.all_tasks()
    endpoint.create_table("orders", items=items(3))
    async with open_table(WHERE, **options) as table:
        assert await scanned(table) == 3
    await asyncio.sleep(0)
    gc.collect()
    left = [task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task)]
    assert left == []
    assert [warning for warning in recwarn if warning.category is ResourceWarning] == []


async def test_nothing_is_left_when_a_diff_is_left_early(endpoint):
    play = scene(endpoint, items(300), items(3))
    before = asyncio.all_tasks()
    async with play.open() as tables:
        async with diff(*tables, clock=play.clock) as found:
            async for _ in found:
                break
        left = [task for task in asyncio.all_tasks() - before if "RequestHandler" not in repr(task)]
        assert left == []
        await asyncio.sleep(0.05)  # what was on its way when the run was left may still arrive
        calls = len(endpoint.calls)
        await asyncio.sleep(0.05)
        assert len(endpoint.calls) == calls


# The seam: what asyncrep/aws/session.py relies on in botocore and aiobotocore


async def test_the_seam_fires_its_events_in_order_on_what_they_are_meant_for(endpoint):
    endpoint.create_table("orders", items=[item("a", v="x")])
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    raw = b'{"TableName":"orders","Segment":0,"TotalSegments":1}'
    told = []
    async with open_client(ref) as opened:
        client: Any = opened

        def tell(event_name, **arguments):
            told.append((event_name.split(".")[0], arguments))

        for event in ("provide-client-params", "before-call", "before-sign", "before-send", "before-parse"):
            client.meta.events.register_last(f"{event}.dynamodb", tell)
        answer = await client.scan(**{"TableName": "orders", BODY: raw})

    assert [name for name, _ in told] == [
        "provide-client-params",
        "before-call",
        "before-sign",
        "before-send",
        "before-parse",
    ], "botocore fires the events of the seam in another way: asyncrep/aws/session.py must follow"
    arguments = dict(told)
    assert arguments["before-call"]["params"]["body"] == raw, "our body must be in place before signing"
    sent = arguments["before-send"]["request"]
    assert sent.body == raw, "what was signed must be what is sent"
    assert b"Authorization" in sent.headers or "Authorization" in sent.headers
    parse = arguments["before-parse"]
    assert parse["response_dict"]["body"] == b"{}", (
        "our handler must have taken the body away from the parser"
    )
    assert json.loads(answer[BODY])["Items"] == [item("a", v="x")], "the raw body must be handed on"
    assert "Items" not in answer, "botocore must not have parsed it"


async def test_the_seam_signs_the_body_it_sends(endpoint):
    """The signature covers the SHA-256 of the raw body, not of what botocore had serialized."""
    import hashlib  # noqa: PLC0415

    endpoint.create_table("orders")
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    raw = b'{"TableName":"orders", "Limit" : 3}'
    signed = []
    async with open_client(ref) as opened:
        client: Any = opened
        signer = client._request_signer
        make_auth = signer.get_auth_instance

        async def spied(*arguments, **named):
            auth = await make_auth(*arguments, **named)
            canonical = auth.canonical_request

            def keep(request):
                signed.append(canonical(request))
                return signed[-1]

            auth.canonical_request = keep
            return auth

        signer.get_auth_instance = signer.get_auth = spied
        await client.scan(**{"TableName": "orders", BODY: raw})
    assert endpoint.requests("Scan")[0].body == {"TableName": "orders", "Limit": 3}
    assert [text.rsplit("\n", 1)[1] for text in signed] == [hashlib.sha256(raw).hexdigest()]


async def test_the_seam_has_one_retry_layer(endpoint):
    endpoint.create_table("orders")
    ref = TableRef.parse(WHERE, endpoint_url=endpoint.url)
    endpoint.on("Scan", times=None).error("InternalServerError", 500)
    async with open_client(ref) as opened:
        client: Any = opened
        with pytest.raises(Exception, match="InternalServerError"):
            await client.scan(**{"TableName": "orders", BODY: b'{"TableName":"orders"}'})
    assert endpoint.count("Scan") == 1, "botocore retries by itself again: the retries would multiply"
