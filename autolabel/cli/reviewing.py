"""The commands of the review: `review` and `report`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autolabel.cli.configs import config_file
from autolabel.cli.outcome import exit_codes, finish
from autolabel.errors import UsageError
from autolabel.review import MOST_IN_REPORT


def review(
    source: Annotated[str, typer.Argument(metavar="CONFIG", help="A config file.")],
    apply: Annotated[
        Path | None,
        typer.Option("--apply", metavar="FILE", help="Take over the decisions.json of a report, and end."),
    ] = None,
    port: Annotated[int, typer.Option("--port", help="The port; 0 for any.", min=0, max=65535)] = 0,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Look only: nothing can be decided.")
    ] = False,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Don't open a browser.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; repeatable."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --apply: print the outcome as one JSON object on stdout.")
    ] = False,
) -> None:
    """Open the review page: look at every label, decide, set thresholds."""
    with exit_codes():
        config = config_file(source, overrides)
        if apply is not None:
            if read_only:
                raise UsageError("--apply writes decisions, which --read-only forbids; leave one of them out")
            from autolabel.review.applying import apply_decisions  # noqa: PLC0415

            finish(apply_decisions(config, apply), as_json)
        if as_json:
            raise UsageError("--json goes with --apply; the page has no outcome to print")
        from autolabel.review.server import serve  # noqa: PLC0415

        serve(
            config,
            host=host,
            port=port,
            read_only=read_only,
            open_browser=not no_browser,
        )


def report(
    source: Annotated[str, typer.Argument(metavar="CONFIG", help="A config file.")],
    output: Annotated[
        Path | None, typer.Option("--output", help="The file to write; <run>/report.html by default.")
    ] = None,
    max_images: Annotated[
        int, typer.Option("--max-images", help="A seeded sample of so many images at most.", min=1)
    ] = MOST_IN_REPORT,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; repeatable."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the outcome as one JSON object on stdout.")
    ] = False,
) -> None:
    """Write the review as one HTML file that opens offline, from disk."""
    with exit_codes():
        from autolabel.pipeline.summary import first  # noqa: PLC0415
        from autolabel.review.report import write_report  # noqa: PLC0415

        written = write_report(config_file(source, overrides), output, max_images=max_images)
        if as_json:
            left_out = [{"image": name, "reason": why} for name, why in written.left_out]
            outcome = {"images": written.images, "of": written.of, "output": str(written.path)}
            typer.echo(json.dumps(outcome | ({"left_out": left_out} if left_out else {})))
            return
        for line in first("left out", [f"{name}: {why}" for name, why in written.left_out]):
            typer.echo(line, err=True)
        some = "" if written.images == written.of else f" of {written.of}"
        typer.echo(f"wrote {written.path}: {written.images}{some} images, {written.size / 1e6:.1f} MB")
