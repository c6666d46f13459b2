"""The command line: arguments in, exit codes out. Everything it does is a function of the package."""

import json
import logging
import signal
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autolabel.cli import datasets, reviewing
from autolabel.cli.configs import config_file as _config_file
from autolabel.cli.outcome import exit_codes, finish
from autolabel.errors import UsageError
from autolabel.version import __version__

if TYPE_CHECKING:
    from autolabel.config import Config

app = typer.Typer(
    help="A folder of images and class names become a COCO, YOLO-seg and Pascal VOC dataset, by SAM 3.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ConfigArgument = Annotated[str, typer.Argument(metavar="CONFIG", help="A config file.")]
SourceArgument = Annotated[
    str, typer.Argument(metavar="CONFIG", help="A config file, or a folder of images.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a config key; repeatable.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object on stdout.")]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit",
        help="Only a seeded sample of so many images; of whole clips, where they are tracked.",
        min=1,
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output folder that autolabel did not write.")
]
Resplit = Annotated[bool, typer.Option("--resplit", help="Forget the kept splits and draw them anew.")]
RetryUnclear = Annotated[
    bool, typer.Option("--retry-unclear", help="Ask (and pay) again where an answer was not understood.")
]
Classes = Annotated[
    list[str] | None, typer.Option("--class", help="A class name, with a folder for CONFIG; repeatable.")
]
BackendOption = Annotated[
    str | None,
    typer.Option("--backend", help="roboflow, segmentlens, segmind or sam3, with a folder for CONFIG."),
]
Output = Annotated[
    str | None, typer.Option("--output", help="The dataset's folder, with a folder for CONFIG.")
]


def main() -> None:
    """Run the program."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cancelled CI job ends like Ctrl-C
    app()


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"autolabel {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # noqa: ARG001  (its callback has done the work)
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    logging.basicConfig(format="autolabel: %(message)s", stream=sys.stderr)
    logging.getLogger("autolabel").setLevel(logging.INFO)  # httpx would log every request


@app.command()
def init(path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("autolabel.yaml")) -> None:
    """Write a commented starter config."""
    with exit_codes():
        target = path / "autolabel.yaml" if path.is_dir() else path
        if target.exists():
            raise UsageError(f"{target} exists already; name another file, or remove it")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files("autolabel.config").joinpath("starter.yaml").read_bytes())
        except OSError as error:
            raise UsageError(f"{target} can't be written: {error.strerror}") from None
        typer.echo(f"wrote {target}: set images and classes there, then `autolabel plan {target}`", err=True)


@app.command()
def plan(
    source: SourceArgument,
    classes: Classes = None,
    backend: BackendOption = None,
    output: Output = None,
    limit: Limit = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Count images, requests, cost and time. Asks nothing, needs no key."""
    with exit_codes():
        from autolabel import pipeline  # noqa: PLC0415

        result = pipeline.plan(_config(source, classes, backend, output, overrides), limit=limit)
        if as_json:
            typer.echo(json.dumps(result.to_json()))
            return
        before = " before retries" if result.cost else ""
        cost = "not stated by the host" if result.cost is None else f"${result.cost:.4g}{before}"
        time = "unknown" if result.seconds is None else f"{result.seconds:.0f} s or more"
        typer.echo(f"{result.images} images, {result.cached} of them answered already")
        for name, reason in result.failing[:10]:
            typer.echo(f"will fail: {name}: {reason}", err=True)
        if len(result.failing) > 10:
            typer.echo(f"... and {len(result.failing) - 10} more will fail", err=True)
        if result.who:
            typer.echo(result.who)
        if result.requests:
            typer.echo(f"{result.requests} requests, cost {cost}, time {time}")
        else:
            typer.echo("nothing to ask")


@app.command()
def label(
    source: SourceArgument,
    classes: Classes = None,
    backend: BackendOption = None,
    output: Output = None,
    limit: Limit = None,
    retry_unclear: RetryUnclear = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Ask the model, and keep the answers."""
    with exit_codes(as_json, source, overrides):
        from autolabel import pipeline  # noqa: PLC0415

        config = _config(source, classes, backend, output, overrides, keep=True)
        finish(pipeline.label(config, limit=limit, retry_unclear=retry_unclear), as_json)


@app.command()
def export(
    config: ConfigArgument,
    overwrite: Overwrite = False,
    resplit: Resplit = False,
    reviewed_only: Annotated[
        bool, typer.Option("--reviewed-only", help="Only images that were accepted in the review.")
    ] = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Filter, split and write the dataset from kept answers. Never touches the network."""
    with exit_codes(as_json, config, overrides):
        from autolabel import pipeline  # noqa: PLC0415

        summary = pipeline.export(
            _config_file(config, overrides),
            overwrite=overwrite,
            resplit=resplit,
            reviewed_only=reviewed_only,
        )
        finish(summary, as_json)


@app.command()
def run(
    source: SourceArgument,
    classes: Classes = None,
    backend: BackendOption = None,
    output: Output = None,
    limit: Limit = None,
    overwrite: Overwrite = False,
    resplit: Resplit = False,
    retry_unclear: RetryUnclear = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Label, then export: the main job."""
    with exit_codes(as_json, source, overrides):
        from autolabel import pipeline  # noqa: PLC0415

        config = _config(source, classes, backend, output, overrides, keep=True)
        summary = pipeline.run(
            config, limit=limit, overwrite=overwrite, resplit=resplit, retry_unclear=retry_unclear
        )
        finish(summary, as_json)


@app.command()
def preview(
    config: ConfigArgument,
    count: Annotated[int, typer.Option("-n", help="How many images.", min=1, max=400)] = 12,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Draw a contact sheet of labelled images."""
    with exit_codes():
        from autolabel import draw  # noqa: PLC0415

        path, images = draw.preview(_config_file(config, overrides), count)
        if as_json:
            typer.echo(json.dumps({"images": images, "output": str(path)}))
        else:
            typer.echo(f"drew {images} images: {path}")


app.command()(reviewing.review)
app.command()(reviewing.report)
app.command()(datasets.check)
app.command()(datasets.convert)


def _config(
    source: str,
    classes: list[str] | None,
    backend: str | None,
    output: str | None,
    overrides: list[str] | None,
    *,
    keep: bool = False,
) -> "Config":
    """The config of a file, or of a folder and flags; the latter is written into its run where `keep`."""
    from autolabel.config import folder_config  # noqa: PLC0415

    flags = {"--class": classes, "--backend": backend, "--output": output}
    if not Path(source).exists() and (classes or backend):
        raise UsageError(f"{source} does not exist; name a folder of images")
    if not Path(source).is_dir():
        given = [name for name, value in flags.items() if value]
        if given:
            raise UsageError(f"{given[0]} goes with a folder of images, which {source} is not; use --set")
        return _config_file(source, overrides)
    if not classes or not backend:
        lacking = "--class" if not classes else "--backend"
        raise UsageError(
            f"{source} is a folder: {lacking} is missing, as in "
            f"`autolabel run {source} --class cat --backend roboflow`"
        )
    keys: dict[str, Any] = {"classes": classes, "backend": {"name": backend}}
    if output:
        keys["output"] = output
    config, text = folder_config(source, keys, overrides or ())
    if keep:
        # nothing is written where the run would be refused
        from autolabel.pipeline import check  # noqa: PLC0415

        check(config)
        _keep_config(Path(config.run) / "config.yaml", text)
    return config


def _keep_config(path: Path, text: str) -> None:
    """Write a folder's config, so that the other commands have one; what stood there stays beside it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text(encoding="utf-8") != text:
            path.replace(path.with_suffix(".yaml.bak"))
            logging.getLogger(__name__).info("%s is new; the one before is %s.bak", path, path)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror}; set `run` to another folder") from None
