"""The commands that work on finished datasets, autolabel's or others': `check` and `convert`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from autolabel.cli.outcome import exit_codes, finish

AsJson = Annotated[bool, typer.Option("--json", help="Print the outcome as one JSON object on stdout.")]


def check(
    dataset: Annotated[Path, typer.Argument(metavar="DATASET", help="A folder, a COCO file or a data.yaml.")],
    as_json: AsJson = False,
) -> None:
    """Verify a COCO, YOLO or VOC dataset by its consumers' own rules."""
    with exit_codes(as_json):
        from autolabel.checks import check as check_dataset  # noqa: PLC0415

        checked = check_dataset(dataset)
        for each in checked:
            for line in each.lines():
                typer.echo(line, err=as_json)
        if as_json:
            typer.echo(json.dumps({"datasets": [each.to_json() for each in checked]}))
        raise typer.Exit(max(each.exit_code for each in checked))


def convert(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A folder, a COCO file or a data.yaml.")],
    output: Annotated[Path, typer.Argument(metavar="DST", help="The new dataset's folder.")],
    to: Annotated[str, typer.Option("--to", help="coco, yolo or voc.")],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a folder that autolabel did not write.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Re-write a dataset in another format."""
    with exit_codes(as_json):
        from autolabel.conversion import convert as convert_dataset  # noqa: PLC0415

        finish(convert_dataset(source, output, to, overwrite=overwrite), as_json)
