"""The review as one file: a page with pictures and masks inside, that opens from disk and needs nothing."""

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from autolabel.config import Config
from autolabel.errors import InputError, OutputError
from autolabel.pipeline.inventory import sample
from autolabel.pipeline.results import Run
from autolabel.review import bundle
from autolabel.review.session import MOST_IMAGES, Session
from autolabel.sources import images

SIDE = 640  # px, the longer side of a picture
MOST = 200  # images, where nothing else is asked for
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
    """A written report: how many images of how many are in it."""

    path: Path
    images: int
    of: int
    size: int


def write_report(config: Config, path: Path | None = None, *, max_images: int = MOST) -> Report:
    """Write the run of `config` to `path` (<run>/report.html), a seeded sample of `max_images` at most.

    Raises InputError where nothing is labelled, and OutputError where the file can't be written.
    """
    with Run(config) as run:
        labelled = [entry.item for entry in run.survey().labelled]
    if not labelled:
        raise InputError("no image is labelled yet; run `autolabel label` first")
    chosen = sample(labelled, max_images, config.split.seed)
    with Session(config, items=chosen) as session:
        index = orjson.loads(session.index())
        numbers = range(len(index["images"]["name"]))
        masks: list[dict[str, Any]] = []
        for start in range(0, len(numbers), MOST_IMAGES):
            masks += session.images(numbers[start : start + MOST_IMAGES])
        pictures = [_picture(session, number) for number in numbers]
    index |= {"can_save": False, "config": None, "visual": None}
    text = page({"index": index, "images": masks, "pictures": pictures})
    path = Path(config.run) / "report.html" if path is None else path
    _check_output(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror}; name another with --output") from None
    return Report(path, len(numbers), len(labelled), len(text.encode()))


def _check_output(path: Path) -> None:
    """Raise OutputError for a file that is no report: it would be lost."""
    try:
        if path.exists() and b'id="autolabel-run"' not in path.read_bytes():
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
