"""A local HTTP server that stands in for a host: keep-alive, delays, a rate limit, faults, and a log.

What it answers is a function of the request (`roboflow`, `segmentlens`); faults are in `faults`.
"""

import contextlib
import random
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

import orjson


@dataclass(frozen=True)
class Request:
    """What arrived. Header names are in lower case."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"


@dataclass(frozen=True)
class Response:
    """What goes back, as it stands; `faults` has those that break off."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


@dataclass(frozen=True)
class Fault:
    """A response that goes wrong on the wire, after `hang_s` seconds without a word.

    `cut`: the connection closes after so many bytes of the body. `reset`: it is reset instead of answered.
    """

    response: Response = Response()
    hang_s: float = 0.0
    cut: int | None = None
    reset: bool = False


@dataclass(frozen=True)
class Entry:
    """A line of the log: when the request counted (monotonic seconds), what it was, what it got."""

    arrived: float
    request: Request
    status: int


Answer = Callable[[Request], Response]


def json_response(value: object, status: int = 200, **headers: str) -> Response:
    """Return a JSON response; `retry_after="1"` becomes the header Retry-After."""
    named = {name.replace("_", "-").title(): text for name, text in headers.items()}
    return Response(status, orjson.dumps(value), {"Content-Type": "application/json"} | named)


class Host:
    """A server on a free port of the loopback interface, running while its `with` block runs.

    `script` is used up one element a request, None meaning a normal answer; `always` follows it.
    `rate` requests in a sliding `window_s` are let through, the others get a 429, counted when they arrive,
    which is up to `jitter_s` after they were sent, as in a network. Answers take `latency_s`.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        script: Iterable[Response | Fault | None] = (),
        always: Response | Fault | None = None,
        latency_s: float = 0.0,
        jitter_s: float = 0.0,
        rate: int | None = None,
        window_s: float = 1.0,
        port: int = 0,
    ) -> None:
        self.log: list[Entry] = []
        self.closing = threading.Event()
        self._answer = answer
        self._script: Iterator[Response | Fault | None] = iter(script)
        self._always = always
        self._latency_s = latency_s
        self._jitter_s = jitter_s
        self._rate = rate
        self._window_s = window_s
        self._let_through: deque[float] = deque()
        self._random = random.Random(0)
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.host = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        """The base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def requests(self) -> list[Request]:
        """The requests so far, in the order of arrival."""
        return [entry.request for entry in self.log]

    def wait_for(self, count: int, timeout_s: float = 10.0) -> None:
        """Return once so many requests have arrived."""
        deadline = time.monotonic() + timeout_s
        while len(self.log) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(self.log)} of {count} requests came in {timeout_s:g} s")
            time.sleep(0.001)

    def most_in_a_window(self) -> int:
        """Return the highest number of requests that arrived within one window."""
        times = sorted(entry.arrived for entry in self.log)
        return max((sum(t <= other < t + self._window_s for other in times) for t in times), default=0)

    def __enter__(self) -> "Host":
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, request: Request) -> Response | Fault:
        """Decide on the answer to a request whose headers have just arrived, and log it."""
        with self._lock:
            delay = self._random.uniform(0, self._jitter_s)
        self.closing.wait(delay)
        with self._lock:
            arrived = time.monotonic()
            planned = next(self._script, self._always)
            if self._over_the_rate(arrived):
                planned = json_response({"message": "Too many requests."}, 429)
        response = self._answer(request) if planned is None else planned
        status = response.response.status if isinstance(response, Fault) else response.status
        with self._lock:
            self.log.append(Entry(arrived, request, status))
        self.closing.wait(self._latency_s)
        return response

    def _over_the_rate(self, now: float) -> bool:
        if self._rate is None:
            return False
        while self._let_through and self._let_through[0] <= now - self._window_s:
            self._let_through.popleft()
        if len(self._let_through) >= self._rate:
            return True
        self._let_through.append(now)
        return False


class _Server(ThreadingHTTPServer):
    """Joins its threads on close: `closing` ends their waits, a closed socket their reads."""

    daemon_threads = False
    request_queue_size = 128
    host: Host

    def __init__(self, *args: object) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)  # type: ignore[arg-type]

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        self._open.add(request)
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # its client was first
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request: object, client_address: object) -> None:  # type: ignore[override]
        """Say nothing of clients that went away, which is what tests make them do."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        answer = self.server.host.respond(Request(url.path, query, headers, body, self.command))
        fault = answer if isinstance(answer, Fault) else Fault(answer)
        self.server.host.closing.wait(fault.hang_s)
        if fault.reset:
            self._reset()
        else:
            self._write(fault)

    do_GET = do_POST

    def _write(self, fault: Fault) -> None:
        """Write head and body at once: two small packets would wait for one another (Nagle)."""
        response = fault.response
        head = [f"HTTP/1.1 {response.status} {self.responses.get(response.status, ('-',))[0]}"]
        head += [f"{name}: {value}" for name, value in response.headers.items()]
        head += [f"Content-Length: {len(response.body)}", "", ""]
        self.wfile.write("\r\n".join(head).encode() + response.body[: fault.cut])
        self.close_connection = self.close_connection or fault.cut is not None

    def _reset(self) -> None:
        linger_on_for_no_time = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_on_for_no_time)
        self.close_connection = True
        self.connection.close()

    def log_message(self, *args: object) -> None:
        """Write nothing to stderr; the log is `Host.log`."""
