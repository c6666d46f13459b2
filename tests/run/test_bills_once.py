"""A host that bills each accepted request: runs that are killed, interrupted or left without an answer."""

import contextlib
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import sha256
from pathlib import Path

import orjson
import pytest

from autolabel.backends.http import Retry
from autolabel.backends.segmind.client import Segmind
from autolabel.errors import OutputError
from autolabel.store import Store
from tests.run.support import autolabel, write_config
from tests.servers.host import Fault, Host
from tests.servers.segmind import SegmindServer


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setitem(Segmind.__init__.__kwdefaults__, "retry", Retry(4, 0.001, 0.005))


def segmind(url: str, **keys) -> str:
    backend = {"name": "segmind", "base_url": url, "requests_per_second": 1000} | keys.pop("backend", {})
    return write_config(url, backend=backend, **keys)


def asked(host: Host) -> Counter:
    """How often each prompt was sent for each picture, as a whole: a killed client breaks off."""
    bodies = []
    for request in host.requests:
        with contextlib.suppress(orjson.JSONDecodeError):
            bodies += [orjson.loads(request.body)] if request.method == "POST" else []
    return Counter((sha256(body["image"].encode()).hexdigest(), body["text_prompt"]) for body in bodies)


def test_each_class_is_a_request_and_costs_what_the_host_says(photos):
    """plan counts a request for each class and image at the stated price; the host's own cost counts after."""
    with Host(SegmindServer(cost=0.004)) as host:
        config = segmind(host.url)
        plan = autolabel("plan", config, "--json").summary
        assert (plan["requests"], plan["cost"]) == (12, 0.06)
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["requests"], outcome.summary["cost"]) == (0, 12, 0.048)
        assert set(asked(host).values()) == {1}
        assert autolabel("run", config, "--json").summary["requests"] == 0
        # the host gives no scores for certain, so a class is asked at its own confidence
        other = segmind(host.url, classes=["red", {"name": "green", "confidence": 0.7}])
        assert autolabel("run", other, "--json").summary["requests"] == 6
        assert orjson.loads(host.requests[-1].body)["threshold"] == 0.7


def test_a_budget_holds_at_the_host_s_own_price(photos):
    """What the host says that requests cost is what the budget counts."""
    with Host(SegmindServer(cost=0.0025)) as host:
        config = segmind(host.url, label={"budget": 0.02, "workers": 1})
        outcome = autolabel("run", config, "--json")
        assert outcome.code == 4
        assert outcome.summary["cost"] <= 0.02
        assert outcome.summary["requests"] == 7  # the eighth could have cost 0.005


def test_an_unclear_request_is_asked_again_on_demand_alone(photos):
    """A time-out is a failure that stays; --retry-unclear asks again."""
    with Host(SegmindServer(), script=[None, Fault(hang_s=3)]) as host:
        config = segmind(host.url, label={"workers": 1}, backend={"timeout_s": 0.3})
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["failed"]) == (3, 1)
        assert "unclear" in outcome.err
        assert "--retry-unclear" in outcome.err
        sent = len(host.requests)
        again = autolabel("run", config, "--json")
        assert (again.summary["failed"], len(host.requests)) == (1, sent)
        assert autolabel("plan", config, "--json").summary["requests"] == 0
        assert autolabel("run", config, "--retry-unclear", "--json").code == 0
        assert len(host.requests) == sent + 1


@pytest.mark.parametrize("api", ["v1", "v2"])
def test_a_killed_run_pays_for_nothing_twice(photos, api):
    """SIGKILL amid requests: what was accepted is looked up by the next run, what is unclear is not asked again."""
    server = SegmindServer(polls=3)
    with Host(server, latency_s=0.15) as host:
        config = segmind(host.url, backend={"api": api}, label={"workers": 3})
        command = [sys.executable, "-m", "autolabel", "run", config]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            host.wait_for(7)
            process.send_signal(signal.SIGKILL)
        time.sleep(0.3)  # the host goes on with what it has
        outcome = autolabel("run", config, "--json")
        assert set(asked(host).values()) == {1}
        failed = outcome.summary["failed"]
        assert failed <= 3
        assert ("unclear" in outcome.err) == (failed > 0)
        assert autolabel("run", config, "--retry-unclear", "--json").summary["failed"] == 0
        assert set(asked(host).values()) <= {1, 2}
        assert sum(asked(host).values()) <= 12 + 3


def test_an_accepted_job_is_fetched_by_the_next_run(photos):
    """A job that was accepted before the process died is looked up, and not handed in again."""
    server = SegmindServer(polls=10**9)
    with Host(server) as host:
        config = segmind(host.url, backend={"api": "v2"}, label={"workers": 2})
        command = [sys.executable, "-m", "autolabel", "run", config]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            host.wait_for(6)  # two jobs are handed in and looked up
            process.send_signal(signal.SIGKILL)
        jobs = len(server.jobs)
        assert jobs == 2
        server.polls = 1
        for job in server.jobs.values():
            job["polls"] = 1
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["labelled"]) == (0, 6)
        assert len(server.jobs) == 12
        assert set(asked(host).values()) == {1}


def test_retry_unclear_looks_an_accepted_job_up_first(photos):
    """--retry-unclear pays again only for a job that the host does not know any more."""
    server = SegmindServer(polls=10**9)
    with Host(server) as host:
        config = segmind(host.url, backend={"api": "v2"}, label={"workers": 2})
        command = [sys.executable, "-m", "autolabel", "run", config]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            host.wait_for(6)
            process.send_signal(signal.SIGKILL)
        server.polls = 1
        server.jobs["job-0"]["polls"] = 1
        server.jobs["job-1"] = None
        assert autolabel("run", config, "--json").summary["failed"] == 1
        outcome = autolabel("run", config, "--retry-unclear", "--json")
        assert (outcome.code, outcome.summary["requests"]) == (
            0,
            2,
        )  # the lost one, and its image's other class
        assert sorted(asked(host).values()) == [1] * 11 + [2]


def test_an_interrupted_run_leaves_no_unsent_request_unclear(photos):
    """What was never sent when the run ended is asked by the next one without further ado."""
    with Host(SegmindServer(), latency_s=0.1) as host:
        config = segmind(host.url, label={"workers": 4}, backend={"requests_per_second": 0.5})
        command = [sys.executable, "-m", "autolabel", "label", config]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
            host.wait_for(1)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            assert process.wait() == 130
        config = segmind(host.url)
        outcome = autolabel("run", config, "--json")
        assert (outcome.code, outcome.summary["labelled"]) == (0, 6)
        assert set(asked(host).values()) == {1}


def test_a_run_file_of_the_version_before_is_opened(tmp_path):
    """A store without notes of requests gets them; one of a later version is refused."""
    path = tmp_path / "answers.sqlite"
    with Store(path) as store:
        store._db.execute("DROP TABLE pending")
        store._db.execute("PRAGMA user_version = 1")
    with Store(path) as store:
        assert store.unread(b"a", "s") == []
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(OutputError, match="another version"):
        Store(Path(path))


def test_the_manifest_counts_what_the_answers_lost(photos):
    """A union of masks has no scores and no instances: the manifest says how many that may have hit."""
    with Host(SegmindServer(shape="preview")) as host:
        config = segmind(host.url, backend={"options": {"return_masks": False}})
        outcome = autolabel("run", config, "--json")
    count = outcome.summary["instances"]["answered"]
    manifest = orjson.loads(Path("datasets/street/dataset.json").read_bytes())
    assert manifest["degradations"]["answers"] == {"instances": count, "scores": count}
    assert count == 12


def test_a_job_that_failed_at_last_is_asked_again(photos):
    """A job whose result could not be had, and which the host then gave up, is settled: it is handed in anew."""
    server = SegmindServer(polls=1, fails="out of memory")
    with Host(server, script=[None, *[Fault(reset=True)] * 4]) as host:
        config = segmind(host.url, images="photos/000.png", backend={"api": "v2"}, classes=["red"])
        assert "accepted and may be billed" in autolabel("run", config).err
        assert "out of memory" in autolabel("run", config).err
        server.fails = None
        assert autolabel("run", config).code == 0
        assert sorted(asked(host).values()) == [2]
