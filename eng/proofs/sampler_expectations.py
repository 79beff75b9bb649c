#!/usr/bin/env python3
"""Writes tests/FedLearn.Tests/Privacy/sampler-expectations.csv: draws of the noise sampler by 60-digit arithmetic, independent of its code.

Each line is scaleBits,word,draw: draw = round(2^scaleBits Q^-1(p)), p = (word + 1/2)/2^64, Q the upper tail of the standard normal
distribution and word below 2^63 (the sign bit is 0). Words: every segment boundary of the sampler and its two neighbours, the boundaries of every
octave of the deep tail likewise, and words at which p passes from one draw to the next. Needs mpmath (python3-mpmath). Deterministic.
"""
import os
import random
from mpmath import mp, mpf, erfc, sqrt, exp, pi, floor, log

mp.dps = 60


def tail(z):
    return erfc(z / sqrt(mpf(2))) / 2


def quantile(p):
    """Q^-1(p) by Newton's method from the leading term of the asymptotic series."""
    z = sqrt(-2 * log(2 * p)) if p < mpf("0.49") else mpf(0)
    for _ in range(200):
        step = (tail(z) - p) * sqrt(2 * pi) * exp(z * z / 2)
        z += step
        if abs(step) < mpf(10) ** -45:
            return z
    raise ArithmeticError("no convergence")


def draw(scale_bits, word):
    exact = quantile((mpf(word) + mpf(1) / 2) / 2**64) * 2**scale_bits
    m = int(floor(exact + mpf(1) / 2))
    assert abs(exact - floor(exact) - mpf(1) / 2) > mpf(10) ** -25, "too close to call"
    return m


def words_at_boundaries():
    for octave in range(1, 63):
        for piece in range(32 if octave >= 42 else 1):
            boundary = 2**octave + (piece * 2**octave // 32)
            yield from (boundary - 1, boundary, boundary + 1)
    yield from (0, 2**63 - 2, 2**63 - 1)


def words_at_thresholds(rng, scale_bits):
    s = 2**scale_bits
    largest = int(9 * s)
    ms = range(largest) if largest < 40 else sorted(rng.randrange(largest) for _ in range(60))
    for m in ms:
        word = int(floor(tail((mpf(m) + mpf(1) / 2) / s) * 2**64))
        yield from (w for w in (word - 1, word, word + 1) if 0 <= w < 2**63)


def main():
    rng = random.Random(20090276)
    rows = {(24, w) for w in words_at_boundaries()}
    for bits in (0, 2, 10, 24):
        rows |= {(bits, w) for w in words_at_thresholds(rng, bits)}
    path = os.path.join(os.path.dirname(__file__), "..", "..", "tests", "FedLearn.Tests", "Privacy", "sampler-expectations.csv")
    with open(path, "w", newline="\n") as out:
        for bits, word in sorted(rows):
            out.write(f"{bits},{word},{draw(bits, word)}\n")


if __name__ == "__main__":
    main()
