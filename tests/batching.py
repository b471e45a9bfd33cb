"""What tests of calls over many products share: names, and a function that reads."""

from __future__ import annotations

import threading

import hst_cloud as hst

NAMES = [f"jbqf03g{letter}q_flt.fits" for letter in "abcdefghij"]
"""Ten images; the pixels of each are its place in this list."""


def total(product, *, factor=1):
    """Return the sum of an image, times a factor."""
    with hst.open(product, index=False) as hdul:
        return float(hdul["SCI"].data.sum()) * factor


def alive():
    """Return how many threads of `map` this process has."""
    return sum(each.name.startswith("hst_cloud map") for each in threading.enumerate())
