"""Chance that repeats itself: the same seed gives the same numbers on every machine and database.

Everything here is integer arithmetic. Floats would round differently between platforms, and the numbers that
they lead to are money and dates. Nothing here knows what a shop is.
"""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def stream(seed: int, purpose: str, part: int = 0) -> np.random.Generator:
    """Random numbers for one purpose and part of it, independent of every other stream of the same seed."""
    entropy = [seed & 0xFFFF_FFFF_FFFF_FFFF, zlib.crc32(purpose.encode()), part]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


def weighted(rng: np.random.Generator, weights: Ints, size: int) -> Ints:
    """``size`` positions in ``weights``, each as likely as its weight."""
    cumulative = np.cumsum(weights, dtype=np.int64)
    return np.searchsorted(cumulative, rng.integers(0, cumulative[-1], size), side="right").astype(np.int64)


def shuffled_decks(rng: np.random.Generator, cards: int, decks: int) -> Ints:
    """``decks`` rows, each a permutation of ``range(cards)``: exact proportions in a random order."""
    return np.argsort(rng.integers(0, 2**62, (decks, cards)), axis=1, kind="stable").astype(np.int64)


def mixed(numbers: Ints, salt: int = 0) -> Ints:
    """A hash of each number (splitmix64), not negative: chance that a row carries in its own key."""
    with np.errstate(over="ignore"):
        x = numbers.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (salt + 1)) & 0xFFFF_FFFF_FFFF_FFFF)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(1)).astype(np.int64)
