"""The review as one file: a page with pictures and masks inside, that opens from disk and needs nothing."""

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from autolabel.config import Config
from autolabel.errors import AutolabelError, InputError, OutputError
from autolabel.pipeline.inventory import sample
from autolabel.pipeline.results import Run
from autolabel.review import MOST_IN_REPORT, bundle
from autolabel.review.session import MOST_IMAGES, Session
from autolabel.sources import images
from autolabel.types import ImageItem

SIDE = 640  # px, the longer side of a picture
_QUALITY = 80
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>autolabel: report</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<div id="autolabel-page"></div>
<script type="application/json" id="autolabel-run">{run}</script>
<script type="module">{script}</script>
</body>
</html>
"""


@dataclass(frozen=True, slots=True)
class Report:
    """A written report: how many images of how many are in it, and why some were left out, by name."""

    path: Path
    images: int
    of: int
    size: int
    left_out: tuple[tuple[str, str], ...] = ()


def write_report(config: Config, path: Path | None = None, *, max_images: int = MOST_IN_REPORT) -> Report:
    """Write the run of `config` to `path` (<run>/report.html), a seeded sample of `max_images` at most.

    An image that can't be shown is left out. Raises InputError where nothing is labelled or none can be
    shown, and OutputError where the file can't be written; an older one stays whole.
    """
    with Run(config) as run:
        labelled = [entry.item for entry in run.survey().labelled]
    if not labelled:
        raise InputError("no image is labelled yet; run `autolabel label` first")
    path = Path(config.run) / "report.html" if path is None else path
    _check_output(path)
    given, left_out = _gathered(config, sample(labelled, max_images, config.split.seed))
    given["index"]["of"] = len(labelled)
    text = page(given).encode()
    _write(path, text)
    return Report(path, len(given["images"]), len(labelled), len(text), tuple(left_out.items()))


def _gathered(config: Config, items: Sequence[ImageItem]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the page of some images is made of, and why images are not among it, by name."""
    left_out: dict[str, str] = {}
    while items:
        with Session(config, items=items) as session:
            index = orjson.loads(session.index())
            names = index["images"]["name"]
            numbers = range(len(names))
            masks: list[dict[str, Any]] = []
            for start in range(0, len(numbers), MOST_IMAGES):
                masks += session.images(numbers[start : start + MOST_IMAGES])
            failed = {names[image["n"]]: image["error"] for image in masks if "error" in image}
            pictures = []
            for number, name in enumerate(names):
                try:
                    pictures.append(_picture(session, number))
                except AutolabelError as error:
                    failed[name] = str(error)
        lost = {item.file_name for item in items}.difference(names)
        left_out |= failed | dict.fromkeys(lost, "it has no whole answer any more")
        if names and not failed:
            index |= {"can_save": False, "config": None, "visual": None}
            return {"index": index, "images": masks, "pictures": pictures}, left_out
        items = [item for item in items if item.file_name not in left_out]  # so that no figure is of them
    name, why = next(iter(left_out.items()))
    raise InputError(f"no image can be shown; of {name}: {why}")


def _write(path: Path, text: bytes) -> None:
    """Put a file in place once it is whole. Raises OutputError."""
    target = path.resolve()  # a link stays one
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():  # a pipe, say
            target.write_bytes(text)
            return
        try:
            beside.write_bytes(text)
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}; name another with --output") from None


def _check_output(path: Path) -> None:
    """Raise OutputError for a file that is no report: it would be lost."""
    try:
        if path.is_file() and b'id="autolabel-run"' not in path.read_bytes():
            raise OutputError(f"{path} is there and is no report; name another file with --output")
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}; name another with --output") from None


def page(given: dict[str, Any]) -> str:
    """The HTML of a run; `given` is what the front end's `fileHost` takes, less "made", which names it."""
    made = hashlib.sha256(orjson.dumps(given)).hexdigest()[:16]
    run = json.dumps({**given, "made": made}, ensure_ascii=False, separators=(",", ":"))
    run = run.replace("<", "\\u003c")  # a name may say </script>
    script, style = bundle.script(), bundle.text("style.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return _PAGE.format(policy=policy, style=style, script=script, run=run)


def _picture(session: Session, number: int) -> str:
    """A picture as a data address."""
    data, _ = session.picture(number)
    small = images.encode_jpeg(images.decode(data, images.probe(data), max_side=SIDE), _QUALITY)
    return f"data:image/jpeg;base64,{b64encode(small).decode()}"


def _digest(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
