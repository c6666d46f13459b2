"""The review as a page on a port of this machine: routes, bodies in and out. The session does the rest."""

import errno
import html
import os
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from autolabel.config import Config, redact
from autolabel.errors import AutolabelError, UsageError
from autolabel.review.problems import Preparing, Problem, Refused
from autolabel.review.safety import MOST_BYTES, Guard, Keys, is_loopback, problem
from autolabel.review.session import Session

_WAY_IN = """<!doctype html>
<meta charset="utf-8"><title>autolabel</title>
<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={url}">
<a href="{url}">the review</a>
"""
Handler = Callable[[Request], Response | Awaitable[Response]]

_MOST_BYTES_SMALL = 64 * 2**10  # of a body that holds no masks
_MOST_DEPTH = 20  # of a body's JSON: a review is of 6
_FIRST_S = 2.0  # at most, before the address is printed
_STOP_S = 3  # for requests under way, when it ends


def serve(
    config: Config,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    read_only: bool = False,
    open_browser: bool = True,
) -> None:
    """Serve the review of `config` until Ctrl-C; print its address on stderr.

    Port 0 takes any that is free. Raises UsageError where nothing is labelled or the port can't be had.
    """
    with (
        Session(config, read_only=read_only) as session,
        bound(host, port) as sock,
    ):
        port = sock.getsockname()[1]
        session.prepare(_FIRST_S)  # so that the page has something to show at once
        server, keys = make_server(session, host, port)
        shown = "127.0.0.1" if host in ("0.0.0.0", "") else "[::1]" if host == "::" else _in_url(host)  # noqa: S104
        url = f"http://{shown}:{port}/?token={keys.token}"
        sys.stderr.write(f"the review is at {url}\nCtrl-C ends it; every decision is kept as it is made\n")
        if not is_loopback(host):
            sys.stderr.write(
                f"warning: {host} can be reached from other machines, and what is sent is not encrypted; "
                "whoever has this address can decide, and spend on masks\n"
            )
        sys.stderr.flush()
        with ExitStack() as stack:
            if open_browser:
                page = stack.enter_context(way_in(url, Path(config.run)))
                threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()
            with suppress(KeyboardInterrupt):  # uvicorn raises it again, once it has ended in order
                server.run(sockets=[sock])


@contextmanager
def way_in(url: str, folder: Path) -> Iterator[str]:
    """The address of a file in `folder` that leads to `url`, for its owner alone, and gone in the end.

    The command line of a browser, which everybody on the machine may read, then holds no token.
    """
    handle, name = tempfile.mkstemp(prefix="review-", suffix=".html", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(_WAY_IN.format(url=html.escape(url)))
        yield Path(name).resolve().as_uri()
    finally:
        Path(name).unlink(missing_ok=True)


def make_server(session: Session, host: str, port: int) -> tuple[uvicorn.Server, Keys]:
    """A server of the session for a socket that is bound to `host` and `port`, and who may ask it."""
    keys = Keys(port)
    app = Guard(_application(session), keys, host, port)
    settings = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,  # its access log would hold the token
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_STOP_S,
    )
    return uvicorn.Server(settings), keys


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address. Raises UsageError where it can't be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is named; without it small answers come 40 ms late
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen()  # a browser that is faster than the server waits
    except (OSError, OverflowError) as error:
        sock.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise UsageError(f"port {port} is in use; name another with --port, or 0 for any") from None
        trouble = getattr(error, "strerror", None) or error
        raise UsageError(f"{host}:{port} can't be listened on ({trouble}); see --host and --port") from None
    return sock


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _application(session: Session) -> Starlette:
    async def index(_: Request) -> Response:
        try:
            return _json(await run_in_threadpool(session.index, wait=False))
        except Preparing as preparing:
            return _json({"progress": preparing.progress}, 202)

    async def images(request: Request) -> Response:
        numbers = _numbers(request.query_params.get("n", ""))
        return _json(await run_in_threadpool(lambda: orjson.dumps(session.images(numbers))))

    async def thumb(request: Request) -> Response:
        return await _cached(request, session, lambda number: (session.thumb(number), "image/jpeg"))

    async def picture(request: Request) -> Response:
        return await _cached(request, session, session.picture)

    async def decide(request: Request) -> Response:
        number, body = _number(request), await _body(request)
        wanted = {"image": str, "base": int, "review": dict}
        if body.keys() != wanted.keys() or any(type(body[k]) is not kind for k, kind in wanted.items()):
            raise Refused("a decision is an object of image, base and review")
        kept = await run_in_threadpool(session.decide, number, body["image"], body["base"], body["review"])
        return _json(kept, 200 if kept["ok"] else 409)

    async def mask(request: Request) -> Response:
        number, body = _number(request), await _body(request, _MOST_BYTES_SMALL)
        return _json(await run_in_threadpool(session.mask, number, body))

    async def save(request: Request) -> Response:
        return _json(await run_in_threadpool(session.save, await _body(request, _MOST_BYTES_SMALL)))

    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/", _page),
        ("GET", "/app.js", _script),
        ("GET", "/style.css", _style),
        ("GET", "/api/index", index),
        ("GET", "/api/images", images),
        ("GET", "/thumb/{n}", thumb),
        ("GET", "/picture/{n}", picture),
        ("PUT", "/api/images/{n}/review", decide),
        ("POST", "/api/images/{n}/mask", mask),
        ("POST", "/api/config", save),
    ]
    return Starlette(
        routes=[Route(place, handler, methods=[method]) for method, place, handler in routes],
        exception_handlers={
            AutolabelError: _told,
            HTTPException: _refused,
            ClientDisconnect: _left,
            Exception: _broken,
        },
    )


def _page(_: Request) -> Response:  # files are read in a thread, as all that is no coroutine
    return Response(_static("index.html"), media_type="text/html; charset=utf-8")


def _style(_: Request) -> Response:
    return Response(_static("style.css"), media_type="text/css; charset=utf-8")


def _script(_: Request) -> Response:
    from autolabel.review import bundle  # noqa: PLC0415  (the page's script, made of its modules)

    return Response(bundle.script(), media_type="text/javascript; charset=utf-8")


def _static(name: str) -> bytes:
    """A file of the page; `name` never comes from a request."""
    return files("autolabel.review").joinpath("static", name).read_bytes()


async def _cached(request: Request, session: Session, make: Callable[[int], tuple[bytes, str]]) -> Response:
    """A picture, which the browser may keep for as long as the number means the same content."""
    number, known = _number(request), request.headers.get("if-none-match")

    def made() -> Response:
        tag = f'"{session.digest(number).hex()}"'
        headers = {"etag": tag, "cache-control": "private, no-cache"}
        if known == tag:
            return Response(status_code=304, headers=headers)
        data, media_type = make(number)
        return Response(data, media_type=media_type, headers=headers)

    return await run_in_threadpool(made)


async def _body(request: Request, most: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object of a request. HTTPException for what is larger than `most` bytes, too deep, or none."""
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > most:
            raise HTTPException(413, f"this request holds at most {most} bytes")
    return await run_in_threadpool(_parsed, bytes(data))


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise HTTPException(400, f"the body is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body should be a JSON object")
    if _is_deep(body, _MOST_DEPTH):
        raise HTTPException(400, f"the body is nested more than {_MOST_DEPTH} deep")
    return body


def _is_deep(value: object, most: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deep(each, most - 1) for each in inner)


def _number(request: Request) -> int:
    """The one image that a path names. HTTPException for anything else."""
    numbers = _numbers(request.path_params["n"])
    if len(numbers) > 1:
        raise HTTPException(404, "there is no such image; name one number")
    return numbers[0]


def _numbers(text: str) -> list[int]:
    """Image numbers of a text like "1,2,3". HTTPException for anything else."""
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and len(part) < 10 for part in parts):
        raise HTTPException(404, "there is no such image; images go by number")
    return [int(part) for part in parts]


def _json(value: Any, status: int = 200) -> Response:
    data = value if isinstance(value, bytes) else orjson.dumps(value)
    return Response(data, status, media_type="application/json")


async def _told(_: Request, error: Exception) -> Response:
    """What the review or the package says in one sentence."""
    return problem(error.status if isinstance(error, Problem) else Refused.status, redact(str(error)))


async def _refused(_: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return problem(error.status_code, error.detail)
    return problem(400, str(error))


async def _left(_request: Request, _error: Exception) -> Response:
    """To nobody: whoever asked hung up before all was sent."""
    return Response(status_code=400)


async def _broken(_: Request, error: Exception) -> Response:
    """A full disk, a damaged run file or a bug: told without what it may hold."""
    return problem(500, f"the server met an unexpected error ({type(error).__name__}); see its terminal")
