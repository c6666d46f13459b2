"""Splits: exact shares, and no image ever changes sides."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autolabel.splits import assign

SHARES = {"train": 0.8, "val": 0.2, "test": 0.0}
units = st.lists(st.binary(min_size=1, max_size=4), unique=True, max_size=60)


def ids(n: int) -> list[bytes]:
    return [i.to_bytes(4) for i in range(n)]


def test_shares_are_exact():
    """Counts are the nearest whole numbers to the shares."""
    counts = Counter(assign(ids(1000), {}, {"train": 0.7, "val": 0.2, "test": 0.1}, 0).values())
    assert counts == {"train": 700, "val": 200, "test": 100}


@given(units, st.integers(0, 5))
def test_two_images_or_more_leave_val_and_train_filled(images, seed):
    """With two images or more neither train nor val is empty; one alone goes to train."""
    counts = Counter(assign(images, {}, SHARES, seed).values())
    assert counts.total() == len(images)
    if len(images) > 1:
        assert counts["val"] and counts["train"]
    elif images:
        assert counts["train"] == 1


@given(units, st.data())
def test_growth_moves_nothing(images, data):
    """An image keeps its split when others come or go."""
    first = data.draw(st.lists(st.sampled_from(images), unique=True)) if images else []
    kept = assign(first, {}, SHARES, 0)
    if len(first) == 1 or "val" in kept.values():
        grown = assign(images, kept, SHARES, 0)
        assert all(grown[image] == split for image, split in kept.items())


def test_order_does_not_matter_and_the_seed_does():
    """The assignment depends on contents and seed, not on the order of the folder."""
    images = ids(40)
    assert assign(images, {}, SHARES, 0) == assign(images[::-1], {}, SHARES, 0)
    assert assign(images, {}, SHARES, 0) != assign(images, {}, SHARES, 1)


def test_a_val_share_that_comes_late_takes_one_image():
    """Where all images are kept in train, one moves to val rather than leave it empty."""
    kept = dict.fromkeys(ids(10), "train")
    assert Counter(assign(ids(10), kept, SHARES, 0).values()) == {"train": 9, "val": 1}


def test_equal_content_shares_a_split():
    """Equal contents are one unit."""
    assert assign([b"a", b"a", b"b"], {}, SHARES, 0).keys() == {b"a", b"b"}


def test_large_units_count_by_their_images():
    """A clip of many images counts as many: the shares hold for images, and a lone clip is not all of val."""
    units = [bytes([n]) for n in range(12)]
    for seed in range(20):
        assigned = assign(units, {}, {"train": 0.8, "val": 0.2}, seed, {units[0]: 40, units[1]: 10})
        images = {"train": 0, "val": 0}
        for unit, split in assigned.items():
            images[split] += {units[0]: 40, units[1]: 10}.get(unit, 1)
        assert assigned[units[0]] == "train"
        assert 10 <= images["val"] <= 14
