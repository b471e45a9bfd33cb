"""Calibration reference files: how headers name them, and where they are.

A header says ``IDCTAB = 'jref$4bb1536cj_idc.fits'``: the environment variable ``jref`` names a folder, and the file is
in it (HST Data Handbook 3.2; the form is IRAF's). ``N/A`` and blanks stand for none. The ninth character of the name
is that of the variable, by which the reference files of the several instruments never share a name (CDBS's naming, as
CRDS keeps it; so in all the headers that this package was tried on).

In the bucket they lie side by side below one prefix. Only other people's source code tells it: grizli's
``HST_REF_URL`` (grizli/utils.py), and an issue of CRDS (crds#571). ``hst-cloud doctor`` looks whether it is so.
CRDS itself serves each at a fixed address (crds/client/api.py, ``unchecked_get``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["DRIZZLE", "REFERENCES", "Reference", "crds_path", "folder_of", "key_of", "reference_of"]

REFERENCES = "hst/public/references/"
"""Where reference files are in the bucket."""

DRIZZLE = ("IDCTAB", "D2IMFILE", "NPOLFILE", "MDRIZTAB")
"""Keywords of what AstroDrizzle and updatewcs read: distortion, detector, filter, and parameters (DrizzlePac Handbook,
"Reference files")."""

_NAMED = re.compile(r"([a-z]ref)\$([a-z0-9]{9}_[a-z0-9]{1,12}\.[a-z0-9]{2,5})", re.IGNORECASE)


class Reference(NamedTuple):
    """A reference file, as a header names it."""

    variable: str
    """The environment variable of its folder: ``jref``."""
    filename: str
    """``4bb1536cj_idc.fits``."""


def reference_of(value: object) -> Reference | None:
    """Return the reference file that a keyword's value names; None where it names none.

    Examples
    --------
    >>> from hst_cloud.archive.references import reference_of
    >>> reference_of("jref$4bb1536cj_idc.fits")
    Reference(variable='jref', filename='4bb1536cj_idc.fits')
    >>> reference_of("N/A")
    """
    match = _NAMED.fullmatch(value.strip()) if isinstance(value, str) and value.isascii() else None
    return Reference(match[1].lower(), match[2].lower()) if match else None


def key_of(filename: str) -> str:
    """Return the object key of a reference file."""
    return f"{REFERENCES}{filename}"


def crds_path(filename: str) -> str:
    """Return the path of a reference file on the server of CRDS."""
    return f"unchecked_get/references/hst/{filename}"


def folder_of(key: str) -> str:
    """Return the folder that a reference file is staged in, ``references/jref``; empty for the key of anything else."""
    name = key.removeprefix(REFERENCES)
    return f"references/{name[8]}ref" if name != key and reference_of(f"xref${name}") else ""
