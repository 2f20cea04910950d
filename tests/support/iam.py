"""An AWS that judges every call by its exact ARN and remembers it, and an evaluator of policies of our own."""

from __future__ import annotations

import io
import json
import re
import threading
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote
from xml.sax.saxutils import unescape

import pytest
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.core.exceptions import AccessDeniedError, JsonRESTError
from moto.dynamodb.models import dynamodb_backends
from moto.dynamodb.responses import DynamoHandler
from moto.iam.access_control import IAMRequest
from moto.iam.models import iam_backends

from asyncrep.sandbox.server import EmbeddedAws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from tests.support.values import Item

ACCOUNT = "123456789012"
ADMINISTRATOR = "testing"
"""An access key that may do everything, and whose calls are not remembered."""

_CREDENTIAL = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/")
_WILDCARDS = {"*": ".*", "?": "."}
_OF_JSON = {"dynamodb", "dynamodbstreams", "sqs"}
"""Services that tell errors in JSON."""
_S3_ACTIONS = {
    "GET": "GetObject",
    "HEAD": "GetObject",
    "POST": "PutObject",  # of a multipart upload
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}


@dataclass(frozen=True)
class Call:
    """One call as IAM judges it.

    Attributes:
        conditions: the condition keys it brings along.
    """

    key: str = field(compare=False)
    action: str
    resource: str
    conditions: tuple[tuple[str, str], ...] = ()

    @property
    def pair(self) -> tuple[str, str]:
        return self.action, self.resource


def allows(policy: Mapping[str, Any], call: Call) -> bool:
    """Whether a policy of Allow statements lets a call through: actions by name, resources and conditions exactly."""
    return any(_covers(statement, call) for statement in policy["Statement"])


def uses(policy: Mapping[str, Any], calls: Iterable[Call]) -> dict[tuple[str, str], bool]:
    """For each action and resource that a policy names, whether any of the calls needs it."""
    made = list(calls)
    return {
        (action, resource): any(
            allows({"Statement": [{**statement, "Action": [action], "Resource": resource}]}, call)
            for call in made
        )
        for statement in policy["Statement"]
        for action in statement["Action"]
        for resource in _listed(statement["Resource"])
    }


def _covers(statement: Mapping[str, Any], call: Call) -> bool:
    assert statement["Effect"] == "Allow"
    conditions = [
        any(_matches(pattern, value) for pattern in _listed(expected))
        for operator, keys in statement.get("Condition", {}).items()
        for key, expected in keys.items()
        for value in [dict(call.conditions).get(key, "\0" if operator else "")]
    ]
    return (
        call.action in statement["Action"]
        and any(_matches(pattern, call.resource) for pattern in _listed(statement["Resource"]))
        and all(conditions)
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _matches(pattern: str, value: str) -> bool:
    """Match as IAM does: * and ? are wildcards, ${*}, ${?} and ${$} stand for themselves."""
    pieces = re.findall(r"\$\{([*?$])\}|([*?])|([^*?])", pattern)
    spelled = "".join(
        re.escape(literal) if literal else _WILDCARDS[wild] if wild else re.escape(plain)
        for literal, wild, plain in pieces
    )
    return re.fullmatch(spelled, value, re.DOTALL) is not None


@dataclass
class JudgingAws:
    """A moto that lets users do what their policies say, table by table, and remembers what they call.

    Attributes:
        url: where it listens.
        before_run: is called when a user's first call arrives, so that each finds the tables as they were.
        after: is called after each call that was answered, for what happens meanwhile.
    """

    url: str
    calls: list[Call] = field(default_factory=list)
    before_run: Callable[[str], None] = field(default=lambda _key: None)
    after: Callable[[Call, bytes], None] = field(default=lambda _call, _body: None)
    _users: int = 0
    _known: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def user(self, policy: Mapping[str, Any]) -> dict[str, str]:
        """Make a user with exactly this policy; the environment to be that user."""
        self._users += 1
        name = f"user{self._users}"
        backend = iam_backends[ACCOUNT]["aws"]
        backend.create_user("us-east-1", name)
        backend.put_user_policy(name, "exact", json.dumps(policy))
        key = backend.create_access_key(name)
        return {"AWS_ACCESS_KEY_ID": key.access_key_id, "AWS_SECRET_ACCESS_KEY": key.secret_access_key}

    def role(self, name: str, policy: Mapping[str, Any]) -> str:
        """Make a role with this policy, that everybody who is allowed to may assume; its ARN."""
        backend = iam_backends[ACCOUNT]["aws"]
        trust = {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
        backend.create_role(name, json.dumps(trust), "/", None, "", [], "3600")
        backend.put_role_policy(name, "exact", json.dumps(policy))
        return f"arn:aws:iam::{ACCOUNT}:role/{name}"

    def of(self, user: Mapping[str, str]) -> list[Call]:
        """The calls of one user."""
        return [call for call in self.calls if call.key == user["AWS_ACCESS_KEY_ID"]]

    def note(self, key: str, calls: list[Call]) -> None:
        """Remember calls that arrive."""
        with self._lock:
            if key not in self._known:
                self._known.add(key)
                self.before_run(key)
            self.calls += calls


class _Recorder:
    """WSGI in front of moto: what comes by is written down as IAM would see it."""

    def __init__(self, application: Any, aws: JudgingAws) -> None:
        self._application = application
        self._aws = aws

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        body = environ["wsgi.input"].read()
        environ["wsgi.input"] = io.BytesIO(body)
        signed = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        if signed is None or signed[1] == ADMINISTRATOR:
            return self._application(environ, start_response)
        key, region, service = signed.groups()
        calls = [Call(key, *seen) for seen in _seen(service, region, environ, body)]
        self._aws.note(key, calls)
        answer = self._answer(environ, start_response)
        for call in calls:
            self._aws.after(call, body)
        return answer

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer as moto does, but as S3 tells those who may not list all of a bucket that an object is missing.

        To HEAD it answers without a body.
        """
        told: list[Any] = []
        answer = list(self._application(environ, lambda *started: told.append(started)))
        status, headers, *rest = told[0]
        if b"<Code>NoSuchKey</Code>" in b"".join(answer):
            answer = [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]
            status, headers = "403 Forbidden", [("Content-Type", "application/xml")]
        if environ["REQUEST_METHOD"] == "HEAD" and status.startswith("404"):
            answer, status, headers = [], "403 Forbidden", []
        start_response(status, headers, *rest)
        return answer


def _seen(service: str, region: str, environ: Mapping[str, Any], body: bytes) -> Iterator[tuple[Any, ...]]:
    if service == "dynamodb":
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        for judged, resource in _dynamodb_calls(operation, region, json.loads(body)):
            yield f"dynamodb:{judged}", resource
    elif service == "sqs":
        operation = environ["HTTP_X_AMZ_TARGET"].rpartition(".")[2]
        queue = json.loads(body)["QueueUrl"].rpartition("/")[2]
        yield f"sqs:{operation}", f"arn:aws:sqs:{region}:{ACCOUNT}:{queue}"
    elif service == "sts":
        form = parse_qs(body.decode())
        yield f"sts:{form['Action'][0]}", form.get("RoleArn", ["*"])[0]
    elif service == "monitoring":
        form = parse_qs(body.decode())
        condition = ("cloudwatch:namespace", form["Namespace"][0])
        yield f"cloudwatch:{form['Action'][0]}", "*", (condition,)
    else:
        assert service == "s3", service
        yield from _s3_calls(environ, body)


def _dynamodb_calls(operation: str, region: str, body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What IAM is asked about: a transaction as each of its actions, and a stream by its ARN."""
    if operation == "TransactWriteItems":
        actions = [action for each in body["TransactItems"] for action in each.items()]
        return [(f"{kind}Item", _table_arn(region, members["TableName"])) for kind, members in actions]
    if "StreamArn" in body or "ShardIterator" in body:
        return [(operation, body.get("StreamArn") or body["ShardIterator"].partition("|")[0])]
    if "GlobalTableName" in body:
        return [(operation, f"arn:aws:dynamodb::{ACCOUNT}:global-table/{body['GlobalTableName']}")]
    names = body.get("RequestItems") or [body["TableName"]]
    return [(operation, _table_arn(region, name)) for name in names]


def _table_arn(region: str, name: str) -> str:
    return name if name.startswith("arn:") else f"arn:aws:dynamodb:{region}:{ACCOUNT}:table/{name}"


def _s3_calls(environ: Mapping[str, Any], body: bytes) -> list[tuple[Any, ...]]:
    bucket, _, name = unquote(environ["RAW_URI"].partition("?")[0]).lstrip("/").partition("/")
    query = parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
    method, resource = environ["REQUEST_METHOD"], f"arn:aws:s3:::{bucket}"
    if name:
        return [(f"s3:{_on_object(method, query)}", f"{resource}/{name}")]
    if method == "POST" and "delete" in query:
        return [("s3:DeleteObject", each) for each in _removed(resource, body)]
    assert method == "GET", method
    if "uploads" in query:  # IAM knows no condition on their names
        return [("s3:ListBucketMultipartUploads", resource)]
    listing = "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
    return [(listing, resource, (("s3:prefix", query.get("prefix", [""])[0]),))]


def _on_object(method: str, query: Mapping[str, Any]) -> str:
    if method == "GET" and "versionId" in query:
        return "GetObjectVersion"
    if method == "DELETE" and "uploadId" in query:
        return "AbortMultipartUpload"
    return _S3_ACTIONS[method]


def _removed(bucket: str, body: bytes) -> list[str]:
    """The objects that a DeleteObjects names; moto judges such a call by the bucket."""
    if b"<Delete" not in body:
        return []
    return [
        f"{bucket}/{unescape(name)}" for name in re.findall(r"<Key>(.*?)</Key>", body.decode(), re.DOTALL)
    ]


_check_as_signed = IAMRequest.check_action_permitted
_authorize = ActionAuthenticatorMixin._authenticate_and_authorize_action


def _check_action_permitted(self: Any, resource: str) -> None:
    """Judge by the name that IAM knows a service by: moto takes the one it is signed for."""
    self._action = self._action.replace("monitoring:", "cloudwatch:")
    _check_as_signed(self, resource)


def _judge(self: Any, request: type, resource: str = "*") -> None:
    """Judge a call by what it is about; what the administrator calls is not judged."""
    if f"Credential={ADMINISTRATOR}/" in self.headers.get("Authorization", ""):
        return
    if self.service_name in {"dynamodb", "dynamodbstreams"}:
        asked = _dynamodb_calls(self._get_action(), self.region, json.loads(self.raw_body))
    else:
        removed = _removed(resource, self.raw_body) if self.service_name == "s3" else []
        asked = [(self._get_action(), each) for each in removed or [resource]]
    for operation, each in asked:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self, "_get_action", lambda judged=operation: judged)
            try:
                _authorize(self, request, each)
            except AccessDeniedError as refusal:
                if self.service_name not in _OF_JSON:
                    raise
                [sentence] = re.findall(r"<Message>(.*)</Message>", refusal.get_body())
                raise JsonRESTError("AccessDeniedException", f"{sentence} on resource: {each}") from None


def _describe_global_table(_self: Any) -> None:
    raise JsonRESTError("GlobalTableNotFoundException", "There is no such global table.")


@contextmanager
def judging_aws() -> Iterator[JudgingAws]:
    """Start one. moto judges DynamoDB's calls by the resource ``*``: here they are judged as IAM does."""
    with pytest.MonkeyPatch.context() as patch, EmbeddedAws() as embedded:
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0)
        patch.setattr(ActionAuthenticatorMixin, "_authenticate_and_authorize_action", _judge)
        patch.setattr(IAMRequest, "check_action_permitted", _check_action_permitted)
        patch.setattr(DynamoHandler, "describe_global_table", _describe_global_table, raising=False)
        aws = JudgingAws(embedded.endpoint_url)
        server: Any = embedded._server
        server.app = _Recorder(server.app, aws)
        yield aws


def set_items(region: str, name: str, items: Iterable[Item]) -> None:
    """Let a table hold these items and no others, behind the back of whoever uses it."""
    table = dynamodb_backends[ACCOUNT][region].tables[name]
    table.items.clear()
    for item in items:
        table.put_item(deepcopy(item))
