"""How headers name reference files, and where these are."""

from __future__ import annotations

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.archive.references import DRIZZLE, REFERENCES, crds_path, folder_of, key_of, reference_of

NAMES = st.from_regex(r"[a-z0-9]{8}[ijlo]_[a-z0-9]{3,5}\.fits", fullmatch=True)


@given(NAMES, st.sampled_from([" ", "", "  "]), st.booleans())
def test_what_headers_name_is_read_back(name, blanks, upper):
    """In any case and with blanks behind it; and it is staged in the folder of its variable."""
    variable = f"{name[8]}ref"
    written = f"{variable}${name}{blanks}"
    assert reference_of(written.upper() if upper else written) == (variable, name)
    assert folder_of(key_of(name)) == f"references/{variable}"
    assert key_of(name) == f"hst/public/references/{name}"
    assert crds_path(name) == f"unchecked_get/references/hst/{name}"


@given(st.one_of(st.none(), st.integers(), st.booleans(), st.text(), st.text("jref$/.abc019_", max_size=30)))
def test_nothing_else_becomes_a_name(value):
    """Whatever a header holds, what comes out is a plain file name: no path, no dot in front."""
    found = reference_of(value)
    assert found is None or (found.filename[0].isalnum() and "/" not in found.filename)


@pytest.mark.parametrize(
    "value",
    ["N/A", "", "NONE", "jref$", "jref$../x_idc.fits", "jref$a/b_idc.fits", "mtab$u8a1935im_tmg.fits", "idc.fits"],
)
def test_what_names_none_is_none(value):
    """No file, a path, and tables of the photometry's software, which calibration does not read."""
    assert reference_of(value) is None


@pytest.mark.parametrize("key", ["hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", f"{REFERENCES}readme.txt", "x"])
def test_other_keys_have_no_folder(key):
    """What is no reference file lies where the layout says."""
    assert folder_of(key) == ""


def test_real_headers_follow_the_rule(shared_data):
    """The last character of each rootname is that of the variable; those of drizzling are among them."""
    seen, letters = set(), set()
    for path in sorted((shared_data / "fits" / "hst").rglob("*.fits")):
        try:
            header = fits.getheader(path)
        except OSError:
            continue
        for keyword, value in header.items():
            found = reference_of(value)
            if found is not None and keyword not in {"HISTORY", "COMMENT"}:
                seen.add(keyword)
                letters.add((found.variable, found.filename[8]))
    assert set(DRIZZLE) <= seen
    assert {variable for variable, _ in letters} >= {"iref", "jref", "lref", "oref"}
    assert [pair for pair in letters if pair[0][0] != pair[1]] == []
