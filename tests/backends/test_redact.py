"""A key stays out of messages, logs, tracebacks and representations."""

import logging
import traceback
from urllib.parse import quote, quote_plus

import orjson
import pytest

from autolabel.backends.redact import Redactor
from autolabel.errors import AutolabelError
from tests.backends.support import KEY, RED, ROBOFLOW, SCENE, SEGMENTLENS, Service, opened
from tests.servers.host import Fault, Host, Request, Response

KEYS = [KEY, "sk_live_abcdef0123456789", 'a"b\\c<d>e;f,g:h@i[j]k{l}', "%41%42percent"]
SPELLINGS = {
    "plain": str,
    "quoted": lambda key: quote(key, safe=""),
    "quoted as a form": quote_plus,
    "quoted in lower case": lambda key: "".join(f"%{ord(c):02x}" for c in key),
    "quoted twice": lambda key: quote(quote(key, safe=""), safe=""),
    "as JSON": lambda key: orjson.dumps(key).decode()[1:-1],
    "as repr": lambda key: repr(key)[1:-1],
    "as repr of bytes": lambda key: repr(key.encode())[2:-1],
    "in JSON escapes": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "in HTML": lambda key: key.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;"),
}


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_every_spelling_is_redacted(key: str, spelling: object) -> None:
    """A key is found as it is, percent-encoded, and escaped."""
    redact = Redactor(key)
    assert redact(f"before {spelling(key)} after") == "before *** after"  # type: ignore[operator]
    assert redact("nothing to see") == "nothing to see"


def test_no_key_leaves_texts_alone() -> None:
    """Without a key nothing is redacted."""
    assert Redactor(None)("text") == "text"


def echo(request: Request) -> Response:
    """A host that throws everything it got back, in headers and body."""
    told = f"{request.path}?{request.query} {request.headers}"
    message = {"message": f"I was told {told}", "key": request.query.get("api_key")}
    where = {"Location": f"/?api_key={quote(request.query.get('api_key', ''), safe='')}"}
    where["X-Echo"] = request.headers.get("authorization", "none")
    return Response(STATUS[0], orjson.dumps(message), {"Content-Type": "application/json"} | where)


STATUS = [200]
WAYS = [(ROBOFLOW, "bearer"), (ROBOFLOW, "query"), (SEGMENTLENS, "bearer")]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("service", "auth"), WAYS)
@pytest.mark.parametrize("status", [200, 307, 400, 401, 402, 404, 422, 500, "reset", "html", "refused"])
def test_the_key_shows_nowhere(
    service: Service,
    auth: str,
    key: str,
    status: int | str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Not in an error, its traceback or chain, a representation, or any log line at DEBUG."""
    monkeypatch.setenv(service.variable, key)
    caplog.set_level(logging.DEBUG)
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection", "autolabel"):
        caplog.set_level(logging.DEBUG, name)
    STATUS[0] = status if isinstance(status, int) else 200
    always = {
        "reset": Fault(reset=True),
        "html": Response(200, f"<p>{key} {quote(key, safe='')}".encode()),
    }.get(str(status))
    with Host(echo, always=always) as host:
        url = host.url if status != "refused" else "http://127.0.0.1:9"
        with opened(service, url, auth=auth) as backend:
            with pytest.raises(AutolabelError) as caught:
                backend.predict(SCENE, [RED])
            text = repr(backend) + repr(vars(backend)) + repr(vars(backend._host))
    if status != "refused":
        assert key in (host.requests[0].query.get("api_key") or host.requests[0].headers["authorization"])
    error: BaseException | None = caught.value
    text += "".join(traceback.format_exception(caught.value)) + caplog.text + capfd.readouterr().err
    while error is not None:
        text += f"{error} {error!r} {error.args}"
        error = error.__cause__ or error.__context__
    for spelling in SPELLINGS.values():
        assert spelling(key) not in text
    assert caplog.records


def test_a_placeholder_for_a_key_is_left_alone() -> None:
    """A key of a few characters stands in many words and in base64: bodies that hold it are not touched."""
    body = b'{"prompt_index": 0, "masks": "abcx"}'
    assert Redactor("x").body(body) == body
    assert Redactor("abcdefgh").body(b"abcdefgh") == b"***"
