"""Which image goes to which split: seeded, and sticky as the folder grows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b

SPLITS = ("train", "val", "test")


def assign(
    units: Sequence[bytes],
    kept: Mapping[bytes, str],
    shares: Mapping[str, float],
    seed: int,
    sizes: Mapping[bytes, int] | None = None,
) -> dict[bytes, str]:
    """Return the split of every unit: a group of images that stay together, named by a digest.

    `sizes` says how many images a unit has, 1 where it is not named. A unit that has a split in `kept` keeps
    it. The new ones, large ones first and else in an order drawn by `seed`, go one by one where the most
    images are missing to the share of the whole, so the shares hold as closely as what is kept and the sizes
    allow. With two units or more and a val share above 0, val is never empty: where no new unit is there to
    give, one moves there from the largest split, against what was kept.
    """
    units = list(dict.fromkeys(units))
    wanted = set(units)
    size = dict.fromkeys(units, 1) | {unit: n for unit, n in (sizes or {}).items() if unit in wanted}
    assigned = {unit: kept[unit] for unit in units if unit in kept}
    new = [unit for unit in units if unit not in kept]
    new.sort(key=lambda unit: (-size[unit], _draw(unit, seed)))
    missing = _targets(sum(size.values()), shares)
    for unit, split in assigned.items():
        missing[split] -= size[unit]
    for unit in new:
        split = max(shares, key=lambda name: missing[name])
        assigned[unit] = split
        missing[split] -= size[unit]
    if len(units) > 1 and shares.get("val", 0) > 0 and "val" not in assigned.values():
        images = Counter[str]()
        for unit, split in assigned.items():
            images[split] += size[unit]
        largest = images.most_common(1)[0][0]
        there = [unit for unit in units if assigned[unit] == largest]
        assigned[min(there, key=lambda unit: (size[unit], _draw(unit, seed)))] = "val"
    return assigned


def _targets(total: int, shares: Mapping[str, float]) -> Counter[str]:
    """Whole numbers nearest to the shares (largest remainders), none of train and val left empty."""
    exact = {name: total * share for name, share in shares.items()}
    targets = Counter({name: int(value + 1e-9) for name, value in exact.items()})
    by_remainder = sorted(exact, key=lambda name: targets[name] - exact[name])
    for name in by_remainder[: total - targets.total()]:
        targets[name] += 1
    for name in ("val", "train"):
        largest = max(targets, key=lambda split: targets[split])
        if total >= 2 and shares.get(name, 0) > 0 and targets[name] == 0 and targets[largest] > 1:
            targets[name] += 1
            targets[largest] -= 1
    return targets


def _draw(unit: bytes, seed: int) -> bytes:
    return blake2b(unit, key=str(seed).encode()[:64], digest_size=16).digest()
