"""The review's server as a stranger, a hostile page and its own page meet it, on a real port."""

import http.client
import socket
from pathlib import Path

import httpx
import orjson
import pytest

from autolabel.review.server import bound
from autolabel.store import Store
from tests.review.support import WH, added, rejected, review, served

READS = ["/", "/app.js", "/style.css", "/api/index", "/api/images?n=0", "/thumb/0", "/picture/0"]
CHANGES = [("PUT", "/api/images/0/review"), ("POST", "/api/images/0/mask"), ("POST", "/api/config")]


def decide(page, number, *instances, base=0, **verdict):
    image = page.session.digest(number).hex()
    body = {"image": image, "base": base, "review": review(*instances, **verdict)}
    return page.send("PUT", f"/api/images/{number}/review", body)


def instances(page, number):
    return page.client.get("/api/images", params={"n": number}).json()[0]["instances"]


def raw(page, method, path, headers):
    """A request whose path no client tidies up."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=10)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    found = response.status, response.read()
    connection.close()
    return found


@pytest.mark.parametrize("path", READS)
def test_without_the_token_nothing_is_told(page, path):
    """Neither no token, a wrong one nor a wrong cookie opens anything; and a page's token is no cookie."""
    with httpx.Client(base_url=page.url) as stranger:
        assert stranger.get(path).status_code == 403
        assert stranger.get("/", params={"token": page.token[:-1]}).status_code == 403
        for value in ("", "x", page.token):
            stranger.cookies.set(f"autolabel-{page.port}", value, domain="127.0.0.1")
            assert stranger.get(path).status_code == 403
            stranger.cookies.clear()


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_without_the_token_nothing_changes(page, method, path):
    """A request that would change something is refused to strangers, though all else fits."""
    headers = {"origin": page.url, "content-type": "application/json"}
    response = httpx.request(method, page.url + path, content=b"{}", headers=headers)
    assert response.status_code == 403
    assert "token" in response.json()["error"]


def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_do_not_get(page):
    """The first address leads to one without the token; the cookie is HttpOnly, strict, of this port."""
    response = httpx.get(page.url, params={"token": page.token})
    assert (response.status_code, response.headers["location"]) == (303, "/")
    cookie = response.headers["set-cookie"].lower()
    assert cookie.startswith(f"autolabel-{page.port}=")
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert page.token.lower() not in cookie


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", "", "localhost.evil.example:{port}"],
)
def test_a_foreign_host_name_gets_nothing(page, host):
    """DNS rebinding: a name that leads here but is not ours is refused, with the right cookie and token."""
    host = host.format(port=page.port)
    assert page.client.get("/api/index", headers={"host": host}).status_code == 403
    assert page.client.get("/", params={"token": page.token}, headers={"host": host}).status_code == 403


def test_localhost_is_as_good_as_its_number(page):
    """The page may be opened by either name of this machine."""
    host = f"localhost:{page.port}"
    assert page.client.get("/api/index", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(("method", "path"), CHANGES)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "https://127.0.0.1:{port}", "http://127.0.0.1:1"]
)
def test_a_foreign_origin_changes_nothing(page, method, path, origin):
    """A form or script of another site is refused, though the browser sends the cookie."""
    response = page.send(method, path, {}, origin=origin.format(port=page.port))
    assert response.status_code == 403


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_a_missing_origin_or_a_form_changes_nothing(page, method, path):
    """Origin is required, and so is JSON: what a form sends needs no permission of the browser."""
    bare = page.client.request(method, path, content=b"{}", headers={"content-type": "application/json"})
    assert bare.status_code == 403
    assert page.send(method, path, {}, **{"content-type": "text/plain"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/thumb/../../street.yaml", "/thumb/..%2f..%2fstreet.yaml", "/picture/%2e%2e/answers.sqlite", "/picture//etc/passwd",
     "/picture/%2Fetc%2Fpasswd", "/static/../server.py", "/../street.yaml", "/%2e%2e/street.yaml", "/app.js/../server.py",
     "/thumb/0%00", "/thumb/-1", "/thumb/0,1/x", "/thumb/%D9%A1", "/picture/1e0", "/api/images?n=../0", "/api/images?n=",
     "/api/images?n=0,", "/thumb/99", "/picture/99", "/api/images?n=" + "9" * 40],
)  # fmt: skip
def test_no_path_opens_a_file(page, path):
    """Pictures go by number: everything else is not found, encoded or not."""
    cookie = "; ".join(f"{c.name}={c.value}" for c in page.client.cookies.jar)
    status, body = raw(page, "GET", path, {"Host": f"127.0.0.1:{page.port}", "Cookie": cookie})
    assert status in (400, 404), body
    assert b"replay" not in body
    assert b"root:" not in body


def test_every_response_has_the_headers(page):
    """Also errors and refusals carry the policy that keeps scripts of others out."""
    for response in (
        page.client.get("/api/index"),
        page.client.get("/nowhere"),
        httpx.get(page.url),
        page.client.get("/thumb/0"),
    ):
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert response.headers["cross-origin-opener-policy"] == "same-origin"
        assert "server" not in response.headers
        assert "access-control-allow-origin" not in response.headers


def test_too_large_a_body_is_refused_while_it_is_read(page):
    """16 MiB are the most, whether the length is told or not."""
    path = "/api/images/0/review"
    assert page.send("PUT", path, b" " * (16 * 2**20 + 1)).status_code == 413
    headers = {"origin": page.url, "content-type": "application/json"}
    chunks = (b" " * 2**20 for _ in range(20))
    assert page.client.put(path, content=chunks, headers=headers).status_code == 413


@pytest.mark.parametrize("path", ["/api/images/0/mask", "/api/config"])
def test_a_prompt_is_small(page, path):
    """What holds no masks has no reason to be large."""
    assert page.send("POST", path, b" " * (64 * 2**10 + 1)).status_code == 413


@pytest.mark.parametrize("path", ["/thumb/0,1", "/picture/1,2"])
def test_a_picture_is_of_one_image(page, path):
    """Where one number belongs, several are not found."""
    assert page.client.get(path).status_code == 404


def test_what_the_package_says_is_told(page):
    """An error with a sentence is no unexpected one."""
    Path("photos").rename("elsewhere")
    for _ in range(100):
        response = page.client.get("/api/index")
        if response.status_code != 202:
            break
    assert response.status_code == 422
    assert "photos" in response.json()["error"]


def test_who_hangs_up_leaves_no_trace(page, caplog):
    """A request whose body never comes whole is no error of the server."""
    cookie = "; ".join(f"{c.name}={c.value}" for c in page.client.cookies.jar)
    with socket.create_connection(("127.0.0.1", page.port)) as caller:
        head = (
            "PUT /api/images/0/review HTTP/1.1",
            f"Host: 127.0.0.1:{page.port}",
            f"Origin: {page.url}",
            f"Cookie: {cookie}",
            "Content-Type: application/json",
            "Content-Length: 1000",
        )
        caller.sendall("\r\n".join(head).encode() + b"\r\n\r\n{")
        assert page.index()["version"] == 1
    assert decide(page, 0).status_code == 200
    assert page.client.get("/").status_code == 200
    assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"{", 400), (b"[]", 400), (b"\xff", 400), (b'{"a":NaN}', 400), (b'{"a":' * 30 + b"1" + b"}" * 30, 400),
     (b"[" * 100_000 + b"]" * 100_000, 400), (b"{}", 422), (b'{"image": 1, "base": 0, "review": {}}', 422),
     (b'{"image": "", "base": true, "review": {}}', 422)],
)  # fmt: skip
def test_what_is_no_decision_is_refused_with_a_sentence(page, body, status):
    """Broken, deep or shapeless JSON is told in one sentence, never by a traceback."""
    response = page.send("PUT", "/api/images/0/review", body)
    assert response.status_code == status
    assert response.json().keys() == {"error"}


def test_small_answers_leave_at_once():
    """The event loop turns Nagle's algorithm off where it sees TCP: each picture would wait 40 ms with it."""
    with bound("127.0.0.1", 0) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_other_methods_are_refused(page):
    """What a place does not take is an error like the others."""
    response = page.send("DELETE", "/api/images/0/review", {})
    assert response.status_code == 405
    assert response.json().keys() == {"error"}


def test_a_decision_is_kept_and_comes_back(page):
    """PUT answers with what is kept, with a time of its own; the next index has it."""
    first = instances(page, 0)[0]
    response = decide(page, 0, rejected(first))
    assert response.status_code == 200
    kept = response.json()
    assert (kept["ok"], kept["revision"], kept["lost"], kept["matched"]) == (True, 1, [], [0])
    assert kept["review"]["instances"] == [{"verdict": "rejected", "origin": {"id": first[0]}}]
    with Store(Path("runs/street/answers.sqlite")) as store:
        (whole,) = orjson.loads(store.review(page.session.digest(0))[1])["instances"]
    assert whole["origin"]["confidence"] == 0.9, "the origin is the store's, not the page's"
    assert whole["at"].endswith("Z")
    image = page.session.digest(0).hex()
    assert page.index()["reviews"][image] == {k: kept[k] for k in ("revision", "review", "lost", "matched")}


def test_two_pages_do_not_overwrite_each_other(page):
    """A decision on an older revision is answered by 409 with the current one, and changes nothing."""
    first, second, *_ = instances(page, 0)
    assert decide(page, 0, rejected(first)).status_code == 200
    response = decide(page, 0, rejected(second))
    assert response.status_code == 409
    current = response.json()
    assert (current["ok"], current["revision"], current["matched"]) == (False, 1, [0])
    assert decide(page, 0, rejected(first), rejected(second), base=1).json()["revision"] == 2


def test_a_decision_must_fit_the_image(page):
    """Another image's digest, an unknown origin or class, a mask of another size: refused, with the reason."""
    here, elsewhere = instances(page, 0), instances(page, 1)
    body = {"image": page.session.digest(1).hex(), "base": 0, "review": review()}
    assert page.send("PUT", "/api/images/0/review", body).status_code == 422
    assert page.send("PUT", "/api/images/9/review", body).status_code == 404
    for bad in (
        rejected(elsewhere[0]),
        rejected(["0" * 16, here[0][1]]),
        added((1, 1, 9, 9), category="zebra"),
        added((1, 1, 9, 9)) | {"counts": "P2"},
        added((1, 1, 9, 9)) | {"counts": "not a mask"},
        added((1, 1, 9, 9)) | {"category": None},
        added((1, 1, 9, 9)) | {"extra": 1},
        added((1, 1, 9, 9)) | {"verdict": "perhaps"},
    ):
        response = decide(page, 0, bad)
        assert response.status_code == 422, bad
        assert response.json().keys() == {"error"}
    assert decide(page, 0, rejected(here[0]), rejected(here[0])).status_code == 422
    assert page.index()["reviews"] == {}


def test_a_verdict_on_other_answers_is_refused(page):
    """Accepting an image says of which answers: those of the index."""
    answers = page.index()["images"]["answers"][0]
    assert decide(page, 0, verdict="accepted", made_on="0" * 16).status_code == 422
    assert decide(page, 0, verdict="accepted", made_on=answers).status_code == 200


def test_read_only_means_it(config):
    """With --read-only everything can be looked at and nothing decided, asked or saved."""
    with served(config, read_only=True) as page:
        index = page.index()
        assert (index["read_only"], index["can_save"], index["visual"]) == (True, False, None)
        assert decide(page, 0).status_code == 403
        assert (
            page.send("POST", "/api/images/0/mask", {"box": [1, 1, 9, 9], "category": "car"}).status_code
            == 403
        )
        assert page.send("POST", "/api/config", {"classes": {}}).status_code == 403
        assert page.client.get("/picture/0").status_code == 200


def test_names_are_data(page):
    """A file name with HTML in it is JSON like any other, and nothing is served as a page but the page."""
    response = page.client.get("/api/index")
    assert response.headers["content-type"] == "application/json"
    assert "b/ü <b>.png" in response.json()["images"]["name"]


def test_pictures_come_with_their_type_and_are_asked_for_once(page):
    """Thumbs and pictures carry a tag of the content, by which the browser's copy stays good."""
    picture, thumb = page.client.get("/picture/0"), page.client.get("/thumb/0")
    assert (picture.headers["content-type"], thumb.headers["content-type"]) == ("image/png", "image/jpeg")
    again = page.client.get("/picture/0", headers={"if-none-match": picture.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_mask_at_a_box_is_found_offline(page):
    """A box on the patch gives its mask; where nothing is asked for, or outside, one sentence says so."""
    mask = page.send(
        "POST", "/api/images/0/mask", {"box": [46, 6, 84, 54], "points": [], "category": "person"}
    )
    assert mask.status_code == 200
    assert decide(page, 0, added((0, 0, 1, 1)) | {"counts": mask.json()["counts"]}).status_code == 200
    for bad in (
        {"category": "car"},
        {"box": [1, 1, 9, 9], "category": "zebra"},
        {"box": [9, 9, 1, 1], "category": "car"},
        {"box": [1, 2, 3], "category": "car"},
        {"box": [1, 2, 3, "x"], "category": "car"},
        {"box": [WH[0] + 5, 0, WH[0] + 9, 9], "category": "car"},
        {"points": [[1, 1, 0]], "category": "car"},
        {"points": [[1, 1, 2]], "category": "car"},
        {"box": [1, 1, 9, 9], "category": "car", "extra": 1},
    ):
        assert page.send("POST", "/api/images/0/mask", bad).status_code == 422, bad


def test_thresholds_are_saved(page):
    """The config file gets them, and the next index has them."""
    response = page.send("POST", "/api/config", {"classes": {"car": {"confidence": 0.65}}})
    assert response.json() == {"saved": "street.yaml"}
    assert page.index()["classes"][0]["confidence"] == 0.65
    assert orjson.loads(page.session.index())["classes"][0]["confidence"] == 0.65
    assert page.send("POST", "/api/config", {"classes": {"car": {"confidence": 0.01}}}).status_code == 422
