"""`plan`: what a label run would ask, cost and take. Asks nothing and needs no key."""

from collections import Counter, defaultdict
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from autolabel.backends.base import Limits
from autolabel.config import Config
from autolabel.errors import ImageError
from autolabel.labeler import chunks
from autolabel.pipeline.inventory import identify, missing, select, store_path, unpaid
from autolabel.pipeline.question import check_items, question
from autolabel.store import FileRow, Store
from autolabel.types import FrameItem, Prompt


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of what is not kept yet. `cost` is None where the host states no price; `seconds` is the least
    time that the rate limit allows, None where none is known.

    `failing` are images that can't be asked about, each with the reason. `who` says who answers boxes and
    points, where that is not who answers texts.
    """

    images: int
    cached: int
    requests: int
    cost: float | None
    seconds: float | None
    failing: tuple[tuple[str, str], ...] = ()
    who: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The keys that other programs read."""
        return {name: getattr(self, name) for name in ("images", "cached", "requests", "cost", "seconds")}


def plan(config: Config, *, limit: int | None = None) -> Plan:
    """Count images, and the requests, dollars and seconds that labelling them would take.

    Raises UsageError.
    """
    items = select(config, limit, extract=False)
    asked = question(config)
    check_items(asked, items)
    path = store_path(config)
    requests = Counter[str]()
    cached = 0
    failing: list[tuple[str, str]] = []
    seen: set[tuple[bytes, str]] = set()
    clips: dict[tuple[str, bytes], _Clip] = defaultdict(_Clip)  # a clip is asked about as a whole
    with Store(path) if path.exists() else nullcontext() as store:
        for item in items:
            try:
                # without a store nothing is kept, and the contents need not be read
                to_read = store is not None and not (isinstance(item, FrameItem) and not item.path.exists())
                row = identify(store, item) if to_read else FileRow(item.file_name.encode(), 0, 0)
                prompts = asked.prompts(item.file_name, (row.width, row.height))
            except ImageError as error:
                failing.append((item.file_name, str(error)))
                continue
            lacking = missing(store, item, row.image, asked, prompts)
            wanted = unpaid(store, item, row.image, asked, lacking)
            cached += not wanted
            for asker in asked.askers:
                mine = [prompt for prompt in wanted if asked.asker(prompt).source == asker.source]
                if isinstance(item, FrameItem):
                    clip = clips[asker.source, item.clip.content or item.clip.file_name.encode()]
                    clip.wanted |= {p.key: p for p in mine if asker.tracks(p, item)}
                    clip.paid |= {p.key for p in lacking if asker.tracks(p, item)} - {p.key for p in mine}
                still = [p for p in mine if not asker.tracks(p, item) and (row.image, p.key) not in seen]
                seen.update((row.image, prompt.key) for prompt in still)
                requests[asker.source] += len(chunks(still, asker.limits))
    for asker in asked.askers:
        for (source, _), clip in clips.items():
            left = [prompt for key, prompt in clip.wanted.items() if key not in clip.paid]
            requests[source] += len(chunks(left, asker.limits)) if source == asker.source else 0
    spent = [_spent(asker.limits, requests[asker.source]) for asker in asked.askers]
    return Plan(
        images=len(items),
        cached=cached,
        requests=sum(one.requests for one in spent),
        cost=_sum([one.cost for one in spent]),
        seconds=_sum([one.seconds for one in spent]),
        failing=tuple(failing),
        who=asked.who,
    )


@dataclass(slots=True)
class _Clip:
    """The prompts that frames of a clip lack, and those of them that are paid for."""

    wanted: dict[str, Prompt] = field(default_factory=dict)
    paid: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Spent:
    """What the requests to one host take."""

    requests: int
    cost: float | None
    seconds: float | None


def _spent(limits: Limits, requests: int) -> _Spent:
    if limits.free or not requests:
        return _Spent(0, 0.0 if limits.price_per_request is not None or not requests else None, 0.0)
    price, rate = limits.price_per_request, limits.requests_per_second
    return _Spent(
        requests,
        None if price is None else round(requests * price, 6),
        None if rate is None else round(requests / rate, 1),
    )


def _sum(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(sum(known), 6) if len(known) == len(values) else None
