"""How far a number out of a sample can be from the truth.

With 99.9 %, not the usual 95: a page holds hundreds of numbers, and each has to be right.
"""

import math
from statistics import NormalDist

ALPHA = 0.001


def share(hits: int, drawn: int, population: int, among: int = 1) -> tuple[float, float]:
    """Where the share of a population lies, of which ``hits`` were among ``drawn``.

    Wilson's interval, with the finite population heeded; Clopper and Pearson's for none and all.
    A value that was picked ``among`` many, since it is frequent in the sample, is there by luck
    as well: each of them could have been it.
    """
    alpha = ALPHA / max(1, among)
    z = NormalDist().inv_cdf(1 - alpha / 2)
    if drawn <= 0:
        return (0.0, 1.0)
    if drawn >= population:
        return (hits / drawn, hits / drawn)
    if hits == 0:
        return (0.0, 1 - (alpha / 2) ** (1 / drawn))
    if hits == drawn:
        return ((alpha / 2) ** (1 / drawn), 1.0)
    size = drawn * (population - 1) / (population - drawn)
    p = hits / drawn
    middle = (p + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * math.sqrt(p * (1 - p) / size + z * z / (4 * size * size))
    return (max(0.0, middle - half), min(1.0, middle + half))


def ranks(quantile: float, drawn: int) -> tuple[int, int]:
    """Between which ranks of a sorted sample, from 0, the population's quantile lies."""
    middle = quantile * drawn
    half = NormalDist().inv_cdf(1 - ALPHA / 2) * math.sqrt(drawn * quantile * (1 - quantile))
    return (max(0, math.floor(middle - half) - 1), min(drawn - 1, math.ceil(middle + half)))
