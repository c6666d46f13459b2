"""The client alone: connections, the stop, the pause of all threads, time, and what it costs."""

import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from autolabel.backends.http import Retry
from autolabel.backends.meter import Meter
from autolabel.errors import BudgetReached, ConfigError, RefusedError
from tests.backends.support import RED, ROBOFLOW, SCENE, opened
from tests.servers.host import Fault, Host, Request, Response, json_response

OK = Response(200, ROBOFLOW.body())


def canned(_: Request) -> Response:
    """The shortest good answer."""
    return OK


def test_no_429_from_a_host_that_counts_exactly() -> None:
    """10/s hold for every second counted at a host whose network delays each request by up to 50 ms."""
    meter = Meter()
    with (
        Host(canned, rate=10, jitter_s=0.05) as host,
        opened(ROBOFLOW, host.url, requests_per_second=10.0, meter=meter) as backend,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda _: backend.predict(SCENE, [RED]), range(35)))
    assert Counter(entry.status for entry in host.log) == {200: 35}
    assert host.most_in_a_window() <= 10
    assert (meter.requests, meter.retries, meter.billed) == (35, 0, 35)


def test_a_pause_holds_for_all_threads() -> None:
    """A Retry-After to one request holds back those of every thread, as the host means all."""
    with (
        Host(canned, script=[json_response({}, 429, retry_after="1")]) as host,
        opened(ROBOFLOW, host.url) as backend,
        ThreadPoolExecutor(4) as pool,
    ):
        first = pool.submit(backend.predict, SCENE, [RED])
        host.wait_for(1)
        time.sleep(0.05)  # the answer has arrived, too
        others = [pool.submit(backend.predict, SCENE, [RED]) for _ in range(3)]
        for future in [first, *others]:
            future.result()
    refused, *rest = [entry.arrived for entry in host.log]
    assert len(rest) == 4
    assert all(arrived - refused > 0.9 for arrived in rest)


def test_threads_share_connections() -> None:
    """Requests one after the other use one connection; many at once don't wait for one another."""
    at_once = threading.Barrier(20)

    def all_are_here(_: Request) -> Response:
        at_once.wait(timeout=10)
        return OK

    with (
        Host(all_are_here) as host,
        opened(ROBOFLOW, host.url) as backend,
        ThreadPoolExecutor(20) as pool,
    ):
        list(pool.map(lambda _: backend.predict(SCENE, [RED]), range(20)))
    assert len(host.log) == 20


WAITS = {
    "for the next try": {"always": json_response({}, 503)},
    "for Retry-After": {"always": json_response({}, 429, retry_after="600")},
}


@pytest.mark.parametrize("trouble", WAITS.values(), ids=WAITS)
def test_a_stop_ends_waiting_for_a_retry(trouble: dict[str, Response]) -> None:
    """A request that waits to be sent again ends at once when the run does."""
    stop = threading.Event()
    with (
        Host(canned, **trouble) as host,
        opened(ROBOFLOW, host.url, stop=stop, retry=Retry(5, 300, 600)) as backend,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(backend.predict, SCENE, [RED])
        host.wait_for(1)
        stop.set()
        with pytest.raises(RefusedError, match="the run ended") as caught:
            asked.result(timeout=5)
    assert caught.value.kind == "interrupted"


def test_a_stop_ends_waiting_for_a_slot() -> None:
    """Threads that wait for the rate limit end at once, without sending or reserving anything."""
    stop, meter = threading.Event(), Meter(price=1.0, budget=10)
    with (
        Host(canned) as host,
        opened(ROBOFLOW, host.url, stop=stop, meter=meter, requests_per_second=0.01) as backend,
        ThreadPoolExecutor(8) as pool,
    ):
        asked = [pool.submit(backend.predict, SCENE, [RED]) for _ in range(8)]
        host.wait_for(1)
        stop.set()
        errors = [future.exception(timeout=5) for future in asked]
    assert Counter(getattr(error, "kind", None) for error in errors) == {None: 1, "interrupted": 7}
    assert len(host.log) == meter.requests == meter.billed == 1
    for _ in range(9):
        meter.reserve()  # nothing of the seven is still set aside


def test_an_answer_under_way_is_kept_when_the_run_stops() -> None:
    """What the host already works on is paid for, so it is waited for."""
    stop = threading.Event()
    with (
        Host(canned, latency_s=0.2) as host,
        opened(ROBOFLOW, host.url, stop=stop) as backend,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(backend.predict, SCENE, [RED])
        host.wait_for(1)
        stop.set()
        assert asked.result(timeout=5).body == OK.body


def test_a_body_that_drips_ends_as_a_time_out() -> None:
    """timeout_s bounds the whole body, not only the wait for its next byte."""
    stop = threading.Event()

    def drip(server: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            with connection:
                connection.recv(1 << 20)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not stop.wait(0.01):
                    try:
                        connection.sendall(b" ")
                    except OSError:
                        break

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        thread = threading.Thread(target=drip, args=(server,))
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        try:
            with (
                opened(ROBOFLOW, url, timeout_s=0.1, retry=Retry(2, 0.001, 0.001)) as backend,
                pytest.raises(RefusedError, match=r"within 0\.1 s after 2 tries"),
            ):
                backend.predict(SCENE, [RED])
        finally:
            stop.set()
            thread.join()


def test_a_budget_is_never_passed() -> None:
    """With retries and many threads, no more is billed than the budget allows, to the last request."""
    meter = Meter(price=0.1, budget=0.7)
    with (
        Host(canned, script=[None, json_response({}, 500)]) as host,
        opened(ROBOFLOW, host.url, meter=meter) as backend,
        ThreadPoolExecutor(4) as pool,
    ):
        asked = [pool.submit(backend.predict, SCENE, [RED]) for _ in range(20)]
        errors = [future.exception() for future in asked]
    reached = [error for error in errors if error]
    assert all(isinstance(error, BudgetReached) for error in reached)
    assert len(host.log) == meter.billed == 7
    assert meter.cost == pytest.approx(0.7)


def test_refusals_do_not_use_up_the_budget() -> None:
    """What was certainly refused gives its price back."""
    meter = Meter(price=1.0, budget=1.0)
    script = [json_response({}, 429)] * 3
    with Host(canned, script=script) as host, opened(ROBOFLOW, host.url, meter=meter) as backend:
        backend.predict(SCENE, [RED])
        with pytest.raises(BudgetReached, match=r"label\.budget 1 \(1 is spent or under way\)"):
            backend.predict(SCENE, [RED])
    assert (meter.requests, meter.retries, meter.billed) == (4, 3, 1)


def test_a_budget_needs_a_price() -> None:
    """Without a price a budget could not hold, and a free host has the price 0."""
    with pytest.raises(ConfigError, match=r"set backend\.price_per_request"):
        Meter(budget=1.0)
    Meter(0.0, 1.0).reserve()
    assert Meter().cost is None


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY holds as it does for other tools."""
    with Host(canned) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with opened(ROBOFLOW, "http://somewhere.invalid") as backend:
            assert backend.predict(SCENE, [RED]).body == OK.body
    assert proxy.requests[0].headers["host"] == "somewhere.invalid"


def test_a_proxy_that_refuses_is_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CONNECT that the proxy refuses sent nothing to the host, so nothing counts."""
    meter = Meter(price=1.0)
    with Host(canned) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        with (
            opened(ROBOFLOW, "https://somewhere.invalid", meter=meter) as backend,
            pytest.raises(RefusedError, match="no connection to somewhere"),
        ):
            backend.predict(SCENE, [RED])
    assert (meter.requests, meter.billed) == (0, 0)


def test_a_host_without_tls_is_told() -> None:
    """A host that does not speak TLS where it should is no connection, and nothing counts as sent."""
    meter = Meter(price=1.0)
    with (
        Host(canned) as host,
        opened(ROBOFLOW, host.url.replace("http", "https"), meter=meter) as backend,
        pytest.raises(RefusedError, match="no connection to 127"),
    ):
        backend.predict(SCENE, [RED])
    assert (meter.requests, meter.billed, host.log) == (0, 0, [])


def test_a_hang_does_not_hold_other_requests_up() -> None:
    """One thread waiting for a slow answer leaves the others' slots alone."""
    with (
        Host(canned, script=[Fault(OK, hang_s=1.0)]) as host,
        opened(ROBOFLOW, host.url) as backend,
        ThreadPoolExecutor(2) as pool,
    ):
        slow = pool.submit(backend.predict, SCENE, [RED])
        host.wait_for(1)
        backend.predict(SCENE, [RED])
        assert not slow.done()
        slow.result()
