"""`plan`: what a label run would ask, cost and take. Asks nothing and needs no key."""

from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

from autolabel.backends import limits_of
from autolabel.config import Config
from autolabel.errors import ImageError
from autolabel.labeler import chunks
from autolabel.pipeline.inventory import identify, question, select, store_path, unpaid
from autolabel.store import Store


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
    items = select(config, limit)
    asked, limits = question(config), limits_of(config.backend)
    path = store_path(config)
    requests = cached = 0
    seen: set[bytes] = set()
    with Store(path) if path.exists() else nullcontext() as store:
        for item in items:
            try:
                # without a store nothing is kept, and the contents need not be read
                image = identify(store, item).image if store else item.file_name.encode()
            except ImageError:
                continue
            wanted = unpaid(store, image, asked)
            cached += not wanted
            if image not in seen:
                requests += len(chunks(wanted, limits.max_prompts))
            seen.add(image)
    if limits.free:
        requests = 0
    rate = limits.requests_per_second
    return Plan(
        images=len(items),
        cached=cached,
        requests=requests,
        cost=None if limits.price_per_request is None else round(requests * limits.price_per_request, 6),
        seconds=0.0 if not requests else None if rate is None else round(requests / rate, 1),
    )
