"""Who may ask the review's server: the holder of the token, by the server's own name, from its own page."""

import hmac
import ipaddress
import secrets
import socket
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 16 * 2**20  # of a request's body
_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
_AGAIN = '<!doctype html><title>autolabel</title><meta http-equiv="refresh" content="0; url=/">'
_READING = frozenset({"GET", "HEAD"})


class Keys:
    """What a browser shows to be let in: a token in the first address, and a cookie from then on."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(32)
        self._secret = secrets.token_urlsafe(32)
        self.cookie = f"autolabel-{port}"  # cookies know no ports: two reviews would share one

    def opens(self, token: str) -> bool:
        """Whether it is the token."""
        return _equal(token, self.token)

    def knows(self, cookie_header: str) -> bool:
        """Whether the cookie is among those of a request."""
        # the standard library's parser gives up at the first odd cookie of another program on this host
        return _equal(cookie_parser(cookie_header).get(self.cookie, ""), self._secret)

    def let_in(self) -> Response:
        """Give the cookie, and drop the token from the address."""
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(self.cookie, self._secret, httponly=True, samesite="strict", path="/")
        return response


class Guard:
    """ASGI middleware: refuses strangers before anything is read, and sets the headers of every response."""

    def __init__(self, app: ASGIApp, keys: Keys, host: str, port: int) -> None:
        self._app = app
        self._keys = keys
        self._host = host
        self._port = port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand over."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await (self._verdict(scope) or self._app)(scope, receive, with_headers)

    def _verdict(self, scope: Scope) -> Response | None:
        """The response to what goes no further."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not is_own_name(hosts[0], self._host, self._port):
            return problem(403, "this server answers to its own address only; open the one that it printed")
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token")
        if given and scope["path"] == "/" and scope["method"] == "GET" and self._keys.opens(given[0]):
            return self._keys.let_in()
        if not self._keys.knows("; ".join(headers.getlist("cookie"))):
            if scope["path"] == "/" and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                # a link on another page (a notebook's, a terminal's in a browser): the strict cookie comes
                # only with a request of our own
                return Response(_AGAIN, media_type="text/html; charset=utf-8")
            return problem(403, "open the address that `autolabel review` printed, with its token")
        return None if scope["method"] in _READING else _not_ours(headers, hosts[0])


def _not_ours(headers: Headers, host: str) -> Response | None:
    """The response to a change that another site's form or script asks for."""
    if headers.get("origin") != f"http://{host}":
        return problem(403, "this may be asked by the review's own page only")
    if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        return problem(403, "the content type should be application/json")
    return None


def is_own_name(host: str, bound: str, port: int) -> bool:
    """Whether a Host header names this server, so that no other name that leads here (DNS rebinding) does."""
    name, colon, number = host.rpartition(":")
    if not colon or not number.isdigit():
        name, number = host, "80"
    if number != str(port):
        return False
    name = name.lower().removeprefix("[").removesuffix("]")
    if name in ("127.0.0.1", "localhost", "::1", bound.lower()):
        return True
    if bound not in ("0.0.0.0", "::"):  # noqa: S104  (it is compared, not bound)
        return False
    try:  # bound to every address of the machine: each of them, and its name, is meant
        ipaddress.ip_address(name)
    except ValueError:
        return name == socket.gethostname().lower()
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def problem(status: int, sentence: str) -> Response:
    """An error, as the page reads it."""
    return JSONResponse({"error": sentence}, status_code=status)


def _equal(given: str, own: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), own.encode())
