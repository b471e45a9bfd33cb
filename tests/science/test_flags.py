"""Which bits a good pixel may have, and the mask that follows."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.nddata.bitmask import bitfield_to_boolean_mask
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.errors import QueryError
from hst_cloud.science.flags import default_good_bits, mask_of


@pytest.mark.parametrize(
    ("instrument", "detector", "serious", "good"),
    [
        ("ACS", "WFC", 31743, 336),
        ("ACS", "HRC", None, 96),
        ("ACS", "SBC", None, 0),
        ("WFC3", "UVIS", None, 336),
        ("wfc3", "ir ", None, 528),
        ("COS", "FUV", None, ~8346),
        ("COS", "NUV", 200, ~200),
        ("STIS", "CCD", None, ~31743),
        ("WFPC2", "1", None, 0),
        ("", "", 6, ~6),
    ],
)
def test_defaults_are_the_instruments(instrument, detector, serious, good):
    """AstroDrizzle's choice counts first, then what the file calls serious, then what its kind does, then nothing."""
    assert default_good_bits(instrument, detector, serious) == good


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "u1"])
@given(values=st.lists(st.integers(0, 255), min_size=1), serious=st.sampled_from([8346, 184, 31743]))
def test_the_complement_of_serious_masks_what_is_serious(dtype, values, serious):
    """A pixel is bad if and only if it has a serious bit, whatever type its flags are of."""
    flags = np.array(values, dtype=dtype)
    mask = mask_of(flags, ~serious)
    assert mask.dtype == bool
    assert mask.tolist() == [bool(value & serious) for value in values]


def test_bits_are_astropys(recwarn):
    """Sums, texts, complements, lists and None mean what they mean in astropy.nddata.bitmask."""
    flags = np.array([[0, 1, 16], [64, 4096 + 16, 8192]], "i2")
    for bits in (0, 80, "16,64", "~16,64", "16+64", [16, 64], None):
        assert np.array_equal(mask_of(flags, bits), bitfield_to_boolean_mask(flags, bits))
    assert np.array_equal(mask_of(flags.astype("f4"), 80), mask_of(flags, 80))


@pytest.mark.parametrize("bits", ["rubbish", [3, 5], "16;64", 1.5])
def test_what_is_no_bit_is_named(bits):
    """The message shows what was given, and what to give."""
    with pytest.raises(QueryError, match=r"good_bits=.* are no bits: .* Give a sum such as 336"):
        mask_of(np.zeros(3, "i2"), bits)
