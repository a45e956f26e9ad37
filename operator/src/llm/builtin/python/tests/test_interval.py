"""Intervals hold what they promise."""

import random

from profiler import interval


def test_none_and_all():
    assert interval.share(0, 10_000, 10_000_000)[0] == 0
    assert 0.0007 < interval.share(0, 10_000, 10_000_000)[1] < 0.0008
    assert interval.share(5, 5, 5) == (1, 1)
    assert interval.share(7, 7, 700)[1] == 1


def test_coverage():
    dice = random.Random(3)
    population = [dice.random() < 0.03 for _ in range(20_000)]
    truth = sum(population) / len(population)
    held = 0
    for _ in range(400):
        hits = sum(dice.sample(population, 2000))
        least, most = interval.share(hits, 2000, len(population))
        held += least <= truth <= most
    assert held >= 398


def test_the_luckiest_of_many():
    dice = random.Random(4)
    for _ in range(20):
        drawn = [dice.randrange(100) for _ in range(20_000)]
        most = max(set(drawn), key=drawn.count)
        low, high = interval.share(drawn.count(most), len(drawn), 10_000_000, among=100)
        assert low <= 0.01 <= high
