"""`autolabel review` as a user starts and ends it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.review.support import labelled
from tests.run.support import autolabel


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json"], "--json goes with --apply"),
        (["--apply", "decisions.json", "--read-only"], "--read-only forbids"),
        (["--host", "no.such.host.invalid"], "can't be listened on"),
        (["--set", "run=runs/other"], "autolabel label"),
        (["--port", "70000"], "65535"),
    ],
)
def test_wrong_usage_is_one_sentence(config, arguments, words):
    """Exit code 2 and what to do, before anything is served."""
    done = autolabel("review", "street.yaml", "--no-browser", *arguments)
    assert done.code == 2
    assert words in done.err
    assert done.out == ""


def test_a_folder_is_not_a_config(config):
    """The sentence names the config that a folder's run has."""
    done = autolabel("review", "photos")
    assert done.code == 2
    assert "runs/photos/config.yaml" in done.err


def test_a_port_in_use_is_told(config):
    """The sentence says how to choose another."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = autolabel("review", "street.yaml", "--no-browser", "--port", str(taken.getsockname()[1]))
    assert done.code == 2
    assert "is in use; name another with --port" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is another thing there")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_told_to_end(config, number):
    """The address stands on stderr and nothing on stdout; Ctrl-C ends it with exit code 0, quietly."""
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom autolabel.cli import main; main()"
    command = [sys.executable, "-c", code, "review", "street.yaml", "--no-browser", "--host", "localhost"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    first, second = process.stderr.readline(), process.stderr.readline()
    url = first.split()[-1]
    with httpx.Client(follow_redirects=True) as client:
        page = client.get(url)
        assert page.status_code == 200
        assert "token" not in str(page.url)
        assert client.get(f"{page.url}api/index").status_code in (200, 202)
        process.send_signal(number)
        out, rest = process.communicate(timeout=30)
    assert process.returncode == 0, rest
    assert out == ""
    assert second == "Ctrl-C ends it; every decision is kept as it is made\n"
    assert rest == ""


@pytest.mark.skipif(sys.platform == "win32", reason="BROWSER is a command line of Unix")
def test_the_browser_gets_no_token_on_its_command_line(config, tmp_path):
    """It is given a file that only its owner may read, which leads to the address and goes in the end."""
    code = (
        "import json, os, sys; from urllib.request import urlopen; place = sys.argv[1]; "
        "found = [place, urlopen(place).read().decode(), oct(os.stat(place[7:]).st_mode & 0o777)]; "
        "open('seen.tmp', 'w').write(json.dumps(found)); os.rename('seen.tmp', 'seen.json')"
    )
    (tmp_path / "browser.py").write_text(code)
    browser = f"{sys.executable} {tmp_path / 'browser.py'} %s"
    process = subprocess.Popen(
        [sys.executable, "-m", "autolabel", "review", "street.yaml"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1", "BROWSER": browser},
    )
    url = process.stderr.readline().split()[-1]
    for _ in range(500):
        if Path("seen.json").exists():
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    place, text, mode = json.loads(Path("seen.json").read_text())
    assert place.startswith("file:///")
    assert url.partition("token=")[2] not in place
    assert url in text
    assert mode == "0o600"
    assert list(Path("runs/street").glob("*.html")) == []


def test_nothing_is_labelled_yet():
    """Before `label` there is nothing to review."""
    labelled()
    done = autolabel("review", "street.yaml", "--set", "run=elsewhere")
    assert done.code == 2
    assert "nothing is labelled yet" in done.err
