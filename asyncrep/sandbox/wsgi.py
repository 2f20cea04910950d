"""Serves moto's application over HTTP/1.1 with kept connections, quietly, and stops without a trace.

It takes the place of moto's ThreadedMotoServer, which waits forever when its port is taken, closes the
connection after every answer, and lets the threads of open connections go on after it has stopped.
"""

import io
import logging
import os
import socket
import threading
from contextlib import nullcontext
from typing import Any

from moto.backends import get_backend
from moto.core.base_backend import AccountSpecificBackend
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.datastructures import Headers
from werkzeug.serving import ThreadedWSGIServer
from werkzeug.test import run_wsgi_app

_log = logging.getLogger(__name__)

# moto's DynamoDB holds no lock of its own: a scan beside a write fails with "dictionary changed size", and
# two conditional writes can both see their condition met. It computes under the interpreter's lock anyway,
# so taking turns costs nothing. It is shared by all servers of a process, as moto's tables are.
_dynamodb_turn = threading.Lock()


def _make_session() -> None:
    """Let moto make the session that it keeps while no profile is named: that of the machine may not be there."""
    profile = os.environ.pop("AWS_PROFILE", None)
    try:
        AccountSpecificBackend.get_session()
    finally:
        if profile is not None:
            os.environ["AWS_PROFILE"] = profile


_make_session()


class _Handler(MotoRequestHandler):
    """One connection. Unlike werkzeug's, it reads a request to its end first, so the next one can follow."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes; without this the second waits for the client's delayed ACK.
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        """Answer one request."""
        environ = self.make_environ()
        source = environ["wsgi.input"]
        # A chunked body ends by itself; any other is as long as its header says.
        length = -1 if environ.get("wsgi.input_terminated") else int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(source.read(length))
        is_dynamodb = environ.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB")
        try:
            with _dynamodb_turn if is_dynamodb else nullcontext():
                chunks, status, headers = run_wsgi_app(self.server.app, environ, buffered=True)
            body = b"".join(chunks)
        except Exception:  # noqa: BLE001 - whatever moto fails with, the client is owed an answer
            _log.exception("moto failed at %s %s", environ.get("HTTP_X_AMZ_TARGET", self.command), self.path)
            body, status, headers = b"", "500 Internal Server Error", Headers()
        self._answer(body, status, headers)

    def _answer(self, body: bytes, status: str, headers: Headers) -> None:
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            if name.lower() not in {"connection", "transfer-encoding"}:
                self.send_header(name, value)
        if "Content-Length" not in headers and int(code) not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing: stderr belongs to the command that runs the server."""


class SandboxServer(ThreadedWSGIServer):
    """moto behind a listening socket; knows its open connections, so that it can end them."""

    def __init__(self, listener: socket.socket) -> None:
        host, port = listener.getsockname()
        # werkzeug prints and exits when it cannot bind, so it is given a socket that is bound already.
        super().__init__(
            host, port, DomainDispatcherApplication(create_backend_app), _Handler, fd=listener.fileno()
        )
        self._connections: set[socket.socket] = set()
        self._all_closed = threading.Condition()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note a new connection, then serve it in a thread of its own."""
        with self._all_closed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that has ended."""
        super().shutdown_request(request)
        with self._all_closed:
            self._connections.discard(request)
            self._all_closed.notify_all()

    def end_connections(self, timeout: float) -> None:
        """Let every request under way be answered, then close; wait at most `timeout` seconds for that."""
        with self._all_closed:
            for connection in self._connections:
                # Only the reading half: an answer still gets out, and the next read sees the end.
                try:
                    connection.shutdown(socket.SHUT_RD)
                except OSError:
                    continue  # the client was faster
            self._all_closed.wait_for(lambda: not self._connections, timeout)


def forget_tables() -> None:
    """Empty moto's DynamoDB of this process, which outlives the server."""
    get_backend("dynamodb").reset()
