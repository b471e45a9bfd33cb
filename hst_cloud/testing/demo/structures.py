"""What one kind of file looks like: a builder of its HDUs, with an exposure to build if none is given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from astropy.io import fits

from hst_cloud.testing.demo.blocks import hdulist
from hst_cloud.testing.demo.exposures import Exposure, filename

__all__ = ["SEED", "Build", "Structure", "list_length", "structure", "vector_length"]

SEED = 20240203

Build: TypeAlias = Callable[[Exposure, int, int], list[bytes]]
"""Makes the HDUs of an exposure at a scale with a seed."""


@dataclass(frozen=True, slots=True)
class Structure:
    """One kind of file. Called, it returns an `~astropy.io.fits.HDUList`."""

    suffix: str
    """``flc`` of ``jbqf03gjq_flc.fits``."""
    default: Exposure
    """What it shows if nothing is asked for."""
    build: Build
    """Makes the HDUs."""

    def __call__(
        self, exposure: Exposure | None = None, *, rootname: str = "", scale: int = 16, seed: int = SEED
    ) -> fits.HDUList:
        """Return the file as astropy reads it.

        Parameters
        ----------
        exposure : Exposure, optional
            What it shows; by default, the exposure whose listing is the model of this structure.
        rootname : str, optional
            Another name for that exposure.
        scale : int, optional
            Images have this many times fewer rows and columns than the real ones, lists of events and samples this
            many times fewer rows, spectra its square root times fewer pixels; 1 is full size.
        seed : int, optional
            Of the noise.
        """
        return hdulist([self.to_bytes(exposure, rootname=rootname, scale=scale, seed=seed)])

    def to_bytes(
        self, exposure: Exposure | None = None, *, rootname: str = "", scale: int = 16, seed: int = SEED
    ) -> bytes:
        """Return the file itself."""
        if scale < 1:
            message = f"scale={scale}: expected a whole number from 1 (full size) up"
            raise ValueError(message)
        return b"".join(self.build((exposure or self.default).named(rootname), scale, seed))

    def filename(self, exposure: Exposure) -> str:
        """Return the file's name."""
        return filename(exposure.rootname, self.suffix)


def structure(suffix: str, default: Exposure) -> Callable[[Build], Structure]:
    """Make a structure of a function that builds it."""

    def decorate(build: Build) -> Structure:
        return Structure(suffix, default, build)

    return decorate


def vector_length(full: int, scale: int) -> int:
    """Return the pixels of a spectrum scaled down: by the square root of `scale`, for it has one axis, not two."""
    return round(full / math.sqrt(scale))


def list_length(full: int, scale: int) -> int:
    """Return the rows of a list of events or samples scaled down, at least 16."""
    return max(full // scale, 16)
