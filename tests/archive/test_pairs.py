"""Pairs of dispersed and direct images."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, Table

import hst_cloud as hst
from hst_cloud.archive.pairs import DISPERSERS
from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.testing import LocalArchive, make_demo_archive


def observed(*rows):
    """Return observations: name, instrument, filters, right ascension in arcsec, start in minutes."""
    names, instruments, filters, east, minutes = zip(*rows, strict=True)
    return Table(
        {
            "obs_id": names,
            "instrument_name": instruments,
            "filters": filters,
            "s_ra": MaskedColumn(np.array(east) / 3600, unit=u.deg),
            "s_dec": MaskedColumn(np.zeros(len(rows)), unit=u.deg),
            "t_min": MaskedColumn(55000 + np.array(minutes) / 1440, unit=u.d),
        }
    )


def told(table):
    return [(row["direct"], row["obs_id"]) for row in table]


def test_the_nearest_direct_image_is_chosen():
    """Of the same visit and detector, within the radius, the nearest in time; others are left out."""
    table = observed(
        ("iabc01a2q", "WFC3/IR", "G141", 0, 10),
        ("iabc01a1q", "WFC3/IR", "F140W", 2, 4),
        ("iabc01a3q", "WFC3/IR", "F160W", 0, 15),
        ("iabc01a4q", "WFC3/IR", "G102", 0, 18),
        ("iabc01a5q", "WFC3/IR", "F105W", 40, 19),  # too far
        ("iabc01a6q", "WFC3/UVIS", "F606W", 0, 10),  # another detector
        ("iabc02a1q", "WFC3/IR", "F140W", 0, 11),  # another visit
        ("iabc01a7q", "WFC3/IR", "G141", 3, 5),
    )
    found = hst.pairs(table)
    assert told(found) == [
        ("iabc01a1q", "iabc01a1q"),
        ("iabc01a1q", "iabc01a7q"),
        ("iabc01a3q", "iabc01a3q"),
        ("iabc01a3q", "iabc01a2q"),
        ("iabc01a3q", "iabc01a4q"),
    ]
    assert found["role"].tolist() == ["direct", "dispersed", "direct", "dispersed", "dispersed"]
    np.testing.assert_allclose(found["separation"], [0, 1, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(found["delay"], [0, 1, 0, -5, 3], atol=1e-5)
    assert (found["separation"].unit, found["delay"].unit) == (u.arcsec, u.min)
    assert told(hst.pairs(table, radius="1 arcmin"))[-2:] == [("iabc01a5q", "iabc01a5q"), ("iabc01a5q", "iabc01a4q")]


def test_a_dispersed_image_without_a_direct_one_is_told():
    """It has its row, last, with nothing in the columns of the direct image."""
    table = observed(("jabc01a1q", "ACS/WFC", "G800L;CLEAR2L", 0, 0), ("iabc01a2q", "WFC3/IR", "G141", 0, 10),
                     ("iabc01a1q", "WFC3/IR", "F140W", 0, 8))  # fmt: skip
    with pytest.warns(HSTCloudWarning, match="1 of 2 dispersed observations have no direct image: jabc01a1q"):
        found = hst.pairs(table)
    assert told(found)[-1] == ("", "jabc01a1q")
    assert found["delay"].mask.tolist() == found["separation"].mask.tolist() == [False, False, True]


@pytest.mark.parametrize("element", sorted(DISPERSERS))
def test_every_disperser_is_known(element):
    """In any case, beside a clear element, too."""
    table = observed(
        ("jabc01a1q", "ACS/HRC", "F606W", 0, 0), ("jabc01a2q", "ACS/HRC", f"CLEAR1S;{element.lower()}", 0, 1)
    )
    assert hst.pairs(table)["role"].tolist() == ["direct", "dispersed"]


def test_slit_spectra_are_no_pairs():
    """Gratings of STIS and COS begin with the same letter."""
    with pytest.raises(QueryError, match="none of the 1 observations is through one of G102, G141"):
        hst.pairs(observed(("oabc01010", "STIS/CCD", "G430L", 0, 0)))
    with pytest.raises(QueryError, match="has no column 'obs_id'"):
        hst.pairs(Table({"dataURI": ["x"]}))
    with pytest.raises(QueryError, match="radius='3 kg' is no angle"):
        hst.pairs(observed(("iabc01a2q", "WFC3/IR", "G141", 0, 10)), radius="3 kg")


def test_pairs_of_the_archive_are_staged(tmp_path):
    """From a search to files on the disk with what their headers name."""
    with LocalArchive(make_demo_archive(tmp_path / "archive", scale=64, instruments="WFC3")):
        found = hst.pairs(hst.search("HUDF", instrument="WFC3/IR"))
        files = hst.products(found, suffix="flt")
        done = hst.download(files, tmp_path / "work", references=["PFLTFILE", "DFLTFILE"])
    assert len(files) == 5
    assert set(done["status"]) == {"downloaded"}
    assert list(done.meta["environment"]) == ["iref"]
