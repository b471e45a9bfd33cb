"""From a file name to an object key, by rule and without asking anybody.

HST names its files ``ipppssoot_suffix.fits``: instrument, program, visit, observation and source of the telemetry
(HST Data Handbook 2.2, table 2.1). The bucket holds each below the observation that owns it::

    hst/public/{obs_id[:4]}/{obs_id}/{filename}          all in lower case

(85 keys of public sources: 83 follow the rule from the file name alone, all 85 when the obs_id is known.)
From the name alone the observation is its rootname, except that

- the products within an association (last character 1-9 or a-e) lie in the association's folder (last character 0);
- an exposure lies in its own folder even where a service lists it under its association;
- a jitter file of one exposure (``ipppssooj_jit.fits``) lies in the exposure's folder, whose last character the
  name does not tell: no key without the obs_id or a listing;
- HAP, HLA and HLSP products are not in the public bucket.

Every name may come from a server and is hostile until it matches the grammar here:
what does not match never reaches a key or a path.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from hst_cloud.archive.instruments import INSTRUMENTS, LETTERS
from hst_cloud.errors import ProductNameError
from hst_cloud.settings import BUCKET

__all__ = [
    "Collection",
    "Name",
    "dataset_folder",
    "is_rootname",
    "key_of",
    "key_of_s3_uri",
    "parse_filename",
    "parse_uri",
    "visit_prefix",
]

Collection: TypeAlias = Literal["CAL", "HAP", "HLA", "HLSP", "other"]
"""Who made a file: the calibration pipelines, the Hubble Advanced Products, the Legacy Archive, a science team."""

PREFIX = "hst/public"

_ROOTNAME = re.compile(r"[a-z][a-z0-9]{8}")
_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+=-]*(\.[A-Za-z0-9_+=-]+)+")
_DATASET_FILE = re.compile(r"([a-z][a-z0-9]{8})(?:_([a-z0-9_]+))?\.([a-z0-9.]+)")
_SEGMENT = re.compile(r"[A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*")
_OURS = frozenset("".join(instrument.letters for instrument in INSTRUMENTS.values()))
_LONGEST = 255  # bytes in a file name on the file systems that people have
SOURCES = "mnopqrst"  # last characters of exposures: HST Data Handbook 2.2, table 2.1, "source of transmission"

# HLA numbers its images within a visit and filter, or not; HAP has ipppss there instead. As MAST's product lists show:
# hst_12058_01_wfc3_uvis_f275w_01_drz.fits (HLA), hst_16912_02_acs_wfc_f606w_jety02_drc.fits (HAP).
_LEGACY = re.compile(
    r"hst_[0-9]{4,5}_[a-z0-9]{2}_(?:acs|wfc3|wfpc2|nic|nicmos|stis)_[a-z0-9]+_[a-z0-9-]+(?:_[0-9]{2})?_[a-z0-9-]+\..+"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What a file name says."""

    filename: str = ""
    """The name itself, in lower case but for HLSP and other files; empty where a URI does not tell it."""
    collection: Collection
    """Who made the file."""
    rootname: str = ""
    """``ipppssoot`` of a pipeline product, else empty."""
    suffix: str = ""
    """What stands between the rootname and the first dot; empty where there is none."""
    folder: str = ""
    """The observation in whose folder the file lies; empty where the name does not tell."""


def is_rootname(text: str) -> bool:
    """Tell whether `text`, in any case, is ``ipppssoot`` of an instrument that HST has had."""
    if not text.isascii():  # lower() makes plain letters of some that only look alike, as of the Kelvin sign
        return False
    text = text.lower()
    return _ROOTNAME.fullmatch(text) is not None and text[0] in LETTERS


def dataset_folder(rootname: str) -> str:
    """Return the observation in whose folder the files of `rootname` lie, or an empty text if that can't be told.

    Exposures of the five instruments end in a source letter m to t, so mapping 1-9 and a-e to 0 cannot hit them.
    WFPC2 has exposures that end in b (CADC's associations); those of instruments other than the five map digits alone.
    """
    rootname = rootname.lower()
    last = rootname[-1]
    if last in "jx":  # jitter and OCX files take the place of the source letter
        return ""
    if last in ("123456789abcde" if rootname[0] in _OURS else "123456789"):
        return rootname[:-1] + "0"
    return rootname


def _is_filename(text: str) -> bool:
    return len(text) <= _LONGEST and _FILENAME.fullmatch(text) is not None


@functools.lru_cache(maxsize=1024)  # several stages ask of the same name
def parse_filename(filename: str) -> Name:
    """Read what `filename` says of itself.

    Raises
    ------
    ProductNameError
        The name holds a path, a control character, or anything else that no file of the archive has.
    """
    if not _is_filename(filename):
        message = (
            f"{filename[:80]!r} is no file name of the archive: expected letters, digits and '_', '-', '+', '=', "
            "and an extension, such as 'jbqf03gjq_flc.fits'"
        )
        raise ProductNameError(message)
    lower = filename.lower()
    if lower.startswith("hst_"):
        maker: Collection = "HLA" if _LEGACY.fullmatch(lower) else "HAP"
        return Name(filename=lower, collection=maker, suffix=lower.partition(".")[0].rpartition("_")[2])
    if lower.startswith("hlsp_"):
        return Name(filename=filename, collection="HLSP", suffix=lower.partition(".")[0].rpartition("_")[2])
    match = _DATASET_FILE.fullmatch(lower)
    if match is None or not is_rootname(match[1]):
        return Name(filename=filename, collection="other")
    return Name(
        filename=lower, collection="CAL", rootname=match[1], suffix=match[2] or "", folder=dataset_folder(match[1])
    )


@functools.lru_cache(maxsize=1024)
def parse_uri(uri: str) -> Name:
    """Read what a ``mast:`` URI says of its file.

    Raises
    ------
    ProductNameError
        It is no ``mast:`` URI, or ends in no acceptable file name.
    """
    scheme, _, path = uri.partition(":")
    collection, _, rest = path.partition("/")
    if scheme != "mast" or not rest or not uri.isascii() or not uri.isprintable():
        message = f"{uri[:120]!r} is no MAST URI: expected one such as 'mast:HST/product/jbqf03gjq_flc.fits'"
        raise ProductNameError(message, uri=uri)
    if collection == "HST" and rest.startswith("product/"):
        return parse_filename(rest.removeprefix("product/"))
    last = re.split(r"[/=?&]", rest)[-1]
    if collection == "HLSP":
        return replace(parse_filename(last), collection="HLSP", rootname="", folder="")
    if collection == "HLA":
        # Calls of a script (mast:HLA/url/cgi-bin/getdata.cgi?dataset=...): the last value may or may not name a file.
        name = parse_filename(last) if _is_filename(last) else Name(collection="HLA")
        return replace(name, collection="HLA", rootname="", folder="")
    message = f"{uri[:120]!r} is not of HST: expected 'mast:HST/product/...', 'mast:HLA/...' or 'mast:HLSP/...'"
    raise ProductNameError(message, uri=uri)


def key_of(name: Name, obs_id: str = "") -> str:
    """Return the object key of a file, or an empty text where the rule does not tell it.

    Parameters
    ----------
    name : Name
        What the file name says.
    obs_id : str, optional
        MAST's ``obs_id`` of the product's row, in any case. It decides for all but exposures, whose folder is their
        own whatever association they are listed under.

    Raises
    ------
    ProductNameError
        The `obs_id` is of another visit than the file, as for calibration reference files listed with an observation.
    """
    if name.collection != "CAL":
        return ""
    folder = name.folder
    if obs_id:
        if not is_rootname(obs_id) or obs_id[:6].lower() != name.rootname[:6]:
            message = (
                f"{name.filename} does not belong to the observation {obs_id[:40]!r}: "
                f"expected one whose name begins with {name.rootname[:6]!r}"
            )
            raise ProductNameError(message)
        if name.rootname[-1] not in SOURCES:
            folder = dataset_folder(obs_id) or folder
    return f"{PREFIX}/{folder[:4]}/{folder}/{name.filename}" if folder else ""


def key_of_s3_uri(uri: str) -> str:
    """Return the key of an ``s3://`` URI of the public bucket.

    Raises
    ------
    ProductNameError
        Another bucket, or a key with empty, relative or unprintable parts.
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or bucket != BUCKET:
        message = f"{uri[:120]!r} is not in the public bucket: expected 's3://{BUCKET}/...'"
        raise ProductNameError(message, uri=uri)
    if not all(_SEGMENT.fullmatch(part) for part in key.split("/")) or len(key) > 1024:  # S3's limit for keys
        message = (
            f"{uri[:120]!r} holds no acceptable key: expected '{PREFIX}/jbqf/jbqf03gjq/jbqf03gjq_flc.fits' or alike"
        )
        raise ProductNameError(message, uri=uri)
    return key


def visit_prefix(rootname: str) -> str:
    """Return the key prefix of all observations of the visit of `rootname`: ``hst/public/ippp/ipppss``."""
    rootname = rootname.lower()
    return f"{PREFIX}/{rootname[:4]}/{rootname[:6]}"
