"""`plan`: what a label run would ask, cost and take. Asks nothing and needs no key."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from autolabel.backends.base import Limits
from autolabel.config import Config
from autolabel.errors import ImageError
from autolabel.labeler import chunks
from autolabel.pipeline.inventory import identify, select, store_path, unpaid
from autolabel.pipeline.question import check_items, question
from autolabel.store import FileRow, Store
from autolabel.types import FrameItem


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of what is not kept yet. `cost` is None where the host states no price;
    `seconds` is the least time that the rate limit allows, None where none is known.
    """

    images: int
    cached: int
    requests: int
    cost: float | None
    seconds: float | None

    def to_json(self) -> dict[str, Any]:
        """The keys that other programs read."""
        return asdict(self)


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
    seen: set[tuple[bytes, str]] = set()
    with Store(path) if path.exists() else nullcontext() as store:
        for item in items:
            try:
                # without a store nothing is kept, and the contents need not be read
                to_read = store is not None and not (isinstance(item, FrameItem) and not item.path.exists())
                row = identify(store, item) if to_read else FileRow(item.file_name.encode(), 0, 0)
                prompts = asked.prompts(item.file_name, (row.width, row.height))
            except ImageError:
                continue
            wanted = unpaid(store, item, row.image, asked, prompts)
            cached += not wanted
            for asker in asked.askers:
                mine = [prompt for prompt in wanted if asked.asker(prompt).source == asker.source]
                # a clip is asked about as a whole, for all that any of its frames lacks
                unit = item.clip.file_name.encode() if isinstance(item, FrameItem) else b""
                tracked = [p for p in mine if asker.tracks(p, item) and (unit, p.key) not in seen]
                seen.update((unit, prompt.key) for prompt in tracked)
                still = [p for p in mine if not asker.tracks(p, item) and (row.image, p.key) not in seen]
                seen.update((row.image, prompt.key) for prompt in still)
                requests[asker.source] += len(chunks(tracked, asker.limits)) + len(
                    chunks(still, asker.limits)
                )
    spent = [_spent(asker.limits, requests[asker.source]) for asker in asked.askers]
    return Plan(
        images=len(items),
        cached=cached,
        requests=sum(one.requests for one in spent),
        cost=_sum([one.cost for one in spent]),
        seconds=_sum([one.seconds for one in spent]),
    )


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
