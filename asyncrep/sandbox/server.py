"""Starts and stops the embedded AWS: DynamoDB, S3 and all else moto knows, on a port of 127.0.0.1."""

import socket
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self

from asyncrep.errors import UsageError

if TYPE_CHECKING:
    from asyncrep.sandbox.wsgi import SandboxServer

ADDRESS = "127.0.0.1"
PRIMARY_REGION = "us-east-1"
REPLICA_REGION = "eu-west-1"
# moto takes any credentials; these cannot be mistaken for someone's.
ACCESS_KEY = "sandbox"
INSTALL_DEMO = "The sandbox needs moto and airportsdata: pip install 'asyncrep[demo]'"


class EmbeddedAws:
    """An AWS in this process, for the length of a `with`; every region of it is served at one endpoint.

    moto keeps one set of tables per process, whoever asks: two of these at once show the same ones. They
    are forgotten when the block ends. The process's environment is left alone.

        >>> with EmbeddedAws() as aws:
        ...     aws.endpoint_url.startswith("http://127.0.0.1:")
        True
    """

    def __init__(self, port: int = 0) -> None:
        """Name the port to listen on.

        Args:
            port: a port of 127.0.0.1; 0 takes a free one.
        """
        self._port = port
        self._server: SandboxServer | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start serving.

        Raises:
            UsageError: the port is taken or not ours to take, or the extra `demo` is not installed.
        """
        try:
            from asyncrep.sandbox.wsgi import SandboxServer  # noqa: PLC0415 - an optional extra
        except ImportError as error:
            raise UsageError(INSTALL_DEMO) from error
        with self._listen() as listener:
            self._server = SandboxServer(listener)
        self._port = self._server.port
        # The interval bounds how long stopping takes.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="sandbox", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop serving: no port, connection, thread or table is left behind."""
        from asyncrep.sandbox.wsgi import forget_tables  # noqa: PLC0415 - an optional extra

        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.end_connections(timeout=5.0)
        self._server = self._thread = None
        forget_tables()

    @property
    def endpoint_url(self) -> str:
        """Where it listens, as `http://127.0.0.1:PORT`; known once it has started."""
        return f"http://{ADDRESS}:{self._port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables that turn any AWS tool towards it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_REGION": PRIMARY_REGION,
            "AWS_DEFAULT_REGION": PRIMARY_REGION,
        }

    def _listen(self) -> socket.socket:
        if not 0 <= self._port <= 65_535:
            raise UsageError(f"There is no port {self._port}; a port is between 0 and 65535.")
        try:
            return socket.create_server((ADDRESS, self._port), backlog=128)
        except OSError as error:
            raise UsageError(
                f"Cannot listen on {ADDRESS}:{self._port}: {error.strerror}. "
                "Choose another port, or 0 for a free one."
            ) from error
