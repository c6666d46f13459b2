"""Serve a fake host until a key press of Ctrl-C: `python -m tests.servers roboflow --rate 10`."""

import argparse
import contextlib

from tests.servers.host import Host
from tests.servers.roboflow import RoboflowServer
from tests.servers.segmentlens import SegmentLensServer
from tests.servers.segmind import SegmindServer

SERVERS = {"roboflow": RoboflowServer, "segmentlens": SegmentLensServer, "segmind": SegmindServer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", choices=SERVERS)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=None, metavar="N", help="requests in any second")
    options = parser.parse_args()
    answer = SERVERS[options.server]()
    with Host(
        answer, latency_s=options.latency, jitter_s=options.jitter, rate=options.rate, port=options.port
    ) as host:
        print(host.url, flush=True)  # noqa: T201
        with contextlib.suppress(KeyboardInterrupt):
            host.closing.wait()


if __name__ == "__main__":
    main()
