"""What the bits of DQ arrays mean for a mask: which of them a pixel may have and still be good.

A default is the choice of those who combine the instrument's images every day: where AstroDrizzle has one, what the
archive's own pipeline gives it as ``final_bits``; else all but the bits that the file itself calls serious.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from astropy.nddata.bitmask import bitfield_to_boolean_mask
from numpy.typing import NDArray

from hst_cloud.errors import QueryError

__all__ = ["GOOD", "SERIOUS", "BitFlags", "default_good_bits", "mask_of"]

BitFlags: TypeAlias = "int | str | Sequence[int] | None"
"""Bits as `astropy.nddata.bitmask` has them: ``336``, ``"16,64,256"``, ``"~4096"``, ``[16, 64, 256]``; None for all."""

GOOD: dict[tuple[str, str], int] = {
    # Source: drizzlepac, pars/hap_pars/default_parameters/<instrument>/<detector>/*astrodrizzle*.json, "final_bits".
    ("ACS", "WFC"): 16 + 64 + 256,  # hot pixels (stable ones, which the dark takes away), warm pixels, full wells
    ("ACS", "HRC"): 32 + 64,
    ("ACS", "SBC"): 0,
    ("WFC3", "UVIS"): 16 + 64 + 256,
    ("WFC3", "IR"): 16 + 512,  # hot pixels, and blobs of the flat field
}
"""Bits that a good pixel may have, by INSTRUME and DETECTOR."""

SERIOUS: dict[tuple[str, str], int] = {
    # Source: keyword SDQFLAGS of public files of each; COS Data Handbook 2.7, STIS Data Handbook 2.5.
    ("COS", "FUV"): 8346,
    ("COS", "NUV"): 184,
    ("STIS", "CCD"): 31743,
    ("STIS", "NUV-MAMA"): 31743,
    ("STIS", "FUV-MAMA"): 31743,
}
"""Keyword SDQFLAGS where a header has none, by INSTRUME and DETECTOR: bits that make a pixel bad."""


def default_good_bits(instrument: str, detector: str, serious: int | None = None) -> int:
    """Return the bits that a good pixel may have.

    Parameters
    ----------
    instrument, detector : str
        Keywords INSTRUME and DETECTOR.
    serious : int, optional
        Keyword SDQFLAGS of the file, which counts where AstroDrizzle has no choice of its own.

    Returns
    -------
    int
        As astropy's bitmask takes it: 336, or the complement of what is serious; 0 of an unknown instrument.

    Notes
    -----
    Requests: none.

    Examples
    --------
    >>> from hst_cloud.science.flags import default_good_bits
    >>> default_good_bits("ACS", "WFC")
    336
    """
    where = instrument.strip().upper(), detector.strip().upper()
    if where in GOOD:
        return GOOD[where]
    serious = SERIOUS.get(where) if serious is None else serious
    return 0 if serious is None else ~serious


def mask_of(flags: NDArray[Any], good_bits: BitFlags) -> NDArray[np.bool_]:
    """Return True where a pixel has any bit that is not among `good_bits`.

    Raises
    ------
    QueryError
        `good_bits` are no bits.
    """
    if flags.dtype.kind == "f":  # some reduced files hold their flags as floats
        flags = flags.astype(np.int64)
    try:
        mask: NDArray[np.bool_] = bitfield_to_boolean_mask(flags, ignore_flags=good_bits)
    except (TypeError, ValueError) as error:
        message = (
            f"good_bits={good_bits!r} are no bits: {error}. Give a sum such as 336, a text such as '16,64,256' or "
            "'~4096', a list of powers of 2, 0 to mask every flag, or None to mask none."
        )
        raise QueryError(message) from error
    return np.asarray(mask, dtype=bool)
