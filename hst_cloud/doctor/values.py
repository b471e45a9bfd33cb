"""The values of the doctor: an assumption, what became of it, and the public files whose places are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from hst_cloud.doctor.services import Services

__all__ = [
    "HAP_URI",
    "JITTER",
    "KNOWN_KEYS",
    "SUB_PRODUCT",
    "Assumption",
    "BrokenError",
    "Finding",
    "Known",
    "Place",
    "UnaskedError",
    "Verdict",
]

Verdict: TypeAlias = Literal["holds", "fails", "unknown"]
"""What became of an assumption; ``unknown`` where it could not be asked."""

Place: TypeAlias = Literal["here", "bucket", "mast"]
"""What an assumption is about: this machine, the bucket, or MAST."""


class BrokenError(Exception):
    """The assumption does not hold; the text says what was seen."""


class UnaskedError(Exception):
    """The question could not be put; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumption:
    """One thing that this package takes for granted of the services that it asks."""

    name: str
    """Short name, unique."""
    of: Place
    """What it is about."""
    statement: str
    """What is assumed, as a sentence."""
    breaks: str
    """What does not work where it does not hold, and what to do."""
    probe: Callable[[Services], str]
    """Asks, and returns what was seen; raises `BrokenError` where the assumption does not hold."""
    after: tuple[str, ...] = ()
    """The assumptions without which this one cannot be asked."""
    seconds: float = 20
    """How long the probe may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What became of one assumption."""

    name: str
    """Short name of the assumption."""
    of: Place
    """What it is about."""
    statement: str
    """What is assumed."""
    status: Verdict
    """Whether it holds; ``unknown`` where it could not be asked."""
    found: str
    """What was seen, with numbers, or why nothing was."""
    breaks: str
    """What does not work where it does not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A public file whose key in the bucket is written down, so that the rule can be held against it."""

    instrument: str
    """``INSTRUME`` of its primary header."""
    filename: str
    """Name of the file."""
    obs_id: str
    """The observation in whose folder it lies."""
    key: str
    """Object key."""
    source: str
    """How the key is known."""

    @property
    def uri(self) -> str:
        """MAST's ``dataURI``."""
        return f"mast:HST/product/{self.filename}"

    @property
    def visit(self) -> str:
        """Key prefix of all observations of the visit."""
        return self.key[: len("hst/public/ippp/ipppss")]


KNOWN_KEYS: tuple[Known, ...] = (
    # COS and STIS first: no public example of one of their keys was found, so that the rule alone speaks for them.
    Known(
        instrument="COS",
        filename="lbnm01020_x1dsum1.fits",
        obs_id="lbnm01020",
        key="hst/public/lbnm/lbnm01020/lbnm01020_x1dsum1.fits",
        source="the rule; the file is in a product list that a public COS notebook prints",
    ),
    Known(
        instrument="STIS",
        filename="odj102010_x1d.fits",
        obs_id="odj102010",
        key="hst/public/odj1/odj102010/odj102010_x1d.fits",
        source="the rule; the file is one that STIS notebooks of STScI download from MAST",
    ),
    Known(
        instrument="FGS",
        filename="f05i0201m_a1f.fits",
        obs_id="f05i0201m",
        key="hst/public/f05i/f05i0201m/f05i0201m_a1f.fits",
        source="a network test of VirtualiZarr opens it",
    ),
    Known(
        instrument="ACS",
        filename="j8pu0y010_drc.fits",
        obs_id="j8pu0y010",
        key="hst/public/j8pu/j8pu0y010/j8pu0y010_drc.fits",
        source="a doctest of astropy opens it",
    ),
    Known(
        instrument="WFC3",
        filename="ib3p11010_drz.fits",
        obs_id="ib3p11010",
        key="hst/public/ib3p/ib3p11010/ib3p11010_drz.fits",
        source="printed by a notebook that had asked the bucket for it",
    ),
)
"""One file of each instrument."""

SUB_PRODUCT = Known(
    instrument="ACS",
    filename="j8ck01061_drz.fits",
    obs_id="j8ck01060",
    key="hst/public/j8ck/j8ck01060/j8ck01061_drz.fits",
    source="output of astroquery's get_cloud_uris",
)
"""A product within an association, which lies in the association's folder."""

JITTER = Known(
    instrument="FGS",  # jitter files say so, whatever instrument was used
    filename="u4ge0106j_jit.fits",
    obs_id="u4ge0106r",
    key="hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits",
    source="a copy of the bucket's folder; of WFPC2, since none of the five instruments was found",
)
"""A jitter file of one exposure, whose name does not tell its folder."""

HAP_URI = "mast:HST/product/hst_16912_02_acs_wfc_f606w_jety02_drc.fits"
"""A Hubble Advanced Product, which MAST has and the public bucket has not."""
