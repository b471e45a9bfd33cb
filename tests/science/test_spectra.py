"""Extracted spectra: every row with its units, uncertainty, mask and frame, equal to what astropy reads."""

from __future__ import annotations

import gzip
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from support import RecordingStore, put

from hst_cloud.errors import FormatError, HSTCloudWarning, MissingExtraError, NotInCloudError, QueryError
from hst_cloud.science.spectra import spectra, spectrum
from hst_cloud.values import ByteRange, Product

pytest.importorskip("specutils")

FLAM = u.erg / u.s / u.cm**2 / u.AA
SDQFLAGS = 31743
STIS, COS = "odbue5030_x1d.fits", "ld9m10ujq_x1d.fits"


def stis_file(orders=(87, 88, 89), versions=1, length=64, nelem=None, unit="Angstroms", **keywords):
    """Make a STIS x1d as odbue5030_x1d.fits."""
    header = {"INSTRUME": "STIS", "DETECTOR": "NUV-MAMA", "HELCORR": "COMPLETE", "FLUXCORR": "COMPLETE"}
    header |= {"CAL_VER": "3.4.1", "OPT_ELEM": "E230M", "CENWAVE": 1978, "ROOTNAME": "odbue5030"} | keywords
    hdus = [fits.PrimaryHDU(header=fits.Header(header))]
    rows = len(orders)
    for ver in range(1, versions + 1):
        wavelength = 2000 + np.arange(rows)[:, None] + np.linspace(0, 0.9, length) + 100 * ver
        dq = np.zeros((rows, length), "i2")
        dq[:, :3] = 4
        dq[:, 5] = 1024  # not among SDQFLAGS
        columns = [
            fits.Column("SPORDER", "I", array=np.array(orders)),
            fits.Column("NELEM", "I", array=np.full(rows, nelem or length)),
            fits.Column("WAVELENGTH", f"{length}D", unit=unit, array=wavelength),
            fits.Column("FLUX", f"{length}E", unit="erg/s/cm**2/Angstrom", array=wavelength * 1e-15),
            fits.Column("ERROR", f"{length}E", unit="erg/s/cm**2/Angstrom", array=wavelength * 1e-16),
            fits.Column("DQ", f"{length}I", array=dq),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="SCI", ver=ver)
        table.header["SDQFLAGS"] = SDQFLAGS & ~1024
        table.header["EXPTIME"] = 628.0
        hdus.append(table)
    return fits.HDUList(hdus)


def cos_file(segments=("FUVA", "FUVB"), length=64):
    """Make a COS x1d as ld9m10ujq_x1d.fits."""
    primary = fits.PrimaryHDU()
    primary.header.update({"INSTRUME": "COS", "DETECTOR": "FUV", "HELCORR": "OMIT", "CAL_VER": "3.2.1"})
    rows = len(segments)
    wavelength = 1300.0 + 100 * np.arange(rows)[:, None] + np.arange(length)
    weight = np.ones((rows, length), "f4")
    weight[:, -4:] = 0
    flux = "erg /s /cm**2 /angstrom"
    columns = [
        fits.Column("SEGMENT", "4A", array=list(segments)),
        fits.Column("EXPTIME", "D", unit="s", array=np.arange(rows) + 100.0),
        fits.Column("NELEM", "J", array=np.full(rows, length)),
        fits.Column("WAVELENGTH", f"{length}D", unit="angstrom", array=wavelength),
        fits.Column("FLUX", f"{length}E", unit=flux, array=wavelength),
        fits.Column("ERROR", f"{length}E", unit=flux, array=wavelength / 10),
        fits.Column("DQ", f"{length}I", array=np.full((rows, length), 8)),
        fits.Column("DQ_WGT", f"{length}E", array=weight),
    ]
    return fits.HDUList([primary, fits.BinTableHDU.from_columns(columns, name="SCI")])


@pytest.fixture
def store(tmp_path):
    put(tmp_path, STIS, stis_file())
    put(tmp_path, COS, cos_file())
    return RecordingStore(tmp_path)


def test_one_order_of_an_echelle(store):
    """Wavelength, flux and error of the row, in the units of the file."""
    found = spectrum(STIS, order=88, store=store)
    row = stis_file()[1].data[1]
    assert found.flux.unit == FLAM
    assert found.spectral_axis.unit == u.AA
    assert np.array_equal(found.flux.value, row["FLUX"])
    assert np.array_equal(found.spectral_axis.value, row["WAVELENGTH"])
    assert np.array_equal(found.uncertainty.array, row["ERROR"])
    assert found.uncertainty.unit == FLAM
    assert found.uncertainty.uncertainty_type == "std"


def test_a_spectrum_of_unknown_size_is_one_request(store):
    """A file of 1 MiB at most comes whole."""
    spectrum(STIS, order=88, store=store)
    assert store.batches == [[ByteRange(0, 1024 * 1024)]]


def test_a_larger_spectrum_of_known_size_is_one_request(tmp_path):
    """2 MB in one round trip where the size is known, in two where it is not."""
    content = cos_file(length=32768)
    key = put(tmp_path, "ld9m10ujq_x1dsum.fits", content)
    size = (tmp_path / key).stat().st_size
    assert 1024 * 1024 < size < 8 * 1024 * 1024
    store = RecordingStore(tmp_path)
    spectra([Product(filename="ld9m10ujq_x1dsum.fits", key=key, size=size)], store=store)
    assert store.batches == [[ByteRange(0, size)]]
    store.batches.clear()
    spectra("ld9m10ujq_x1dsum.fits", store=store)
    assert [len(batch) for batch in store.batches] == [1, 1]


def test_meta_says_what_the_wavelengths_are(store):
    """Vacuum always; heliocentric where the pipeline corrected them."""
    stis, cos = spectrum(STIS, order=88, store=store).meta, spectrum(COS, segment="fuvb", store=store).meta
    told = ("frame", "heliocentric", "flux_calibrated", "order", "segment", "row", "ver", "CAL_VER", "EXPTIME", "file")
    assert [stis[name] for name in told] == ["vacuum", True, True, 88, None, 1, 1, "3.4.1", 628.0, STIS]
    assert [cos[name] for name in told] == ["vacuum", False, False, None, "FUVB", 1, 1, "3.2.1", 101.0, COS]


@pytest.mark.parametrize(
    ("good_bits", "bad"),
    [("pipeline", [0, 1, 2]), (4, [5]), (0, [0, 1, 2, 5]), (None, []), ("4,1024", []), ([1024], [0, 1, 2])],
)
def test_the_mask_of_stis_is_by_good_bits(store, good_bits, bad):
    """By SDQFLAGS, or as astropy's bitmask takes them; the flags themselves are kept."""
    found = spectrum(STIS, order=87, good_bits=good_bits, store=store)
    assert np.flatnonzero(found.mask).tolist() == bad
    assert found.meta["dq"][5] == 1024


def test_the_mask_of_cos_is_by_dq_wgt(store):
    """Where no exposure was good; good bits that are given count instead."""
    assert np.flatnonzero(spectrum(COS, segment="FUVA", store=store).mask).tolist() == [60, 61, 62, 63]
    assert not spectrum(COS, segment="FUVA", good_bits=8, store=store).mask.any()


def test_only_the_pixels_that_are_there_are_given(tmp_path):
    """NELEM may be less than the length of the columns."""
    put(tmp_path, STIS, stis_file(nelem=40))
    assert len(spectrum(STIS, order=87, store=tmp_path).flux) == 40


def test_several_matches_are_an_error_that_lists_them(store):
    with pytest.raises(QueryError, match=r"has 3 spectra\. Give order=(.|\n)*SCI,1 row 2: order=89"):
        spectrum(STIS, store=store)
    with pytest.raises(QueryError, match=r"has 2 spectra(.|\n)*SCI,1 row 0: segment='FUVA'"):
        spectrum(COS, store=store)


def test_no_match_is_an_error_that_lists_what_there_is(store):
    with pytest.raises(QueryError, match=r"has no spectrum with order=3\. It has:(.|\n)*order=89"):
        spectrum(STIS, order=3, store=store)


def test_all_rows_come_in_the_order_of_product_extver_and_row(tmp_path):
    """Also where the tables of a file stand in another order."""
    swapped = stis_file(versions=2)
    swapped[1], swapped[2] = swapped[2].copy(), swapped[1].copy()
    put(tmp_path, STIS, swapped)
    put(tmp_path, COS, cos_file(("NUVA", "NUVB", "NUVC")))
    found = spectra([COS, STIS], store=tmp_path)
    assert [(s.meta["file"], s.meta["ver"], s.meta["segment"] or s.meta["order"]) for s in found] == [
        *[(COS, 1, stripe) for stripe in ("NUVA", "NUVB", "NUVC")],
        *[(STIS, ver, order) for ver in (1, 2) for order in (87, 88, 89)],
    ]
    assert type(found).__name__ == "SpectrumList"


def test_spectra_take_one_segment_of_each(store):
    """A product without it adds nothing."""
    assert [s.meta["file"] for s in spectra([STIS, COS], segment="FUVA", store=store)] == [COS]


def test_a_broken_product_raises(store):
    with pytest.raises(FileNotFoundError, match="odbue5999"):
        spectra([STIS, "odbue5999_x1d.fits"], store=store)


def test_broken_products_are_skipped_with_one_warning(tmp_path, store):
    """All kinds of broken: absent, no spectrum, no place in the bucket, an unknown unit."""
    put(tmp_path, "odbue5040_x1d.fits", stis_file(unit="furlongs"))
    put(tmp_path, "odbue5050_x1d.fits", fits.HDUList([fits.PrimaryHDU()]))
    files = ["odbue5999_x1d.fits", STIS, "odbue5040_x1d.fits", "odbue5050_x1d.fits", "hst_1_x_drc.fits"]
    with pytest.warns(HSTCloudWarning, match=r"4 of 5 products were skipped:\n(.|\n)*TUNIT3 = 'furlongs'") as caught:
        found = spectra(files, store=store, on_error="skip")
    assert [s.meta["file"] for s in found] == [STIS] * 3
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert all(name in str(caught[0].message) for name in files if name != STIS)


def test_wavelengths_that_do_not_rise_are_an_error(tmp_path):
    """Such as those that no dispersion relation was applied to: all zero."""
    content = stis_file()
    content[1].data["WAVELENGTH"][1] = 0
    put(tmp_path, STIS, content)
    with pytest.raises(
        FormatError, match=r"odbue5030_x1d\.fits has no usable spectrum in SCI,1 row 1: order=88, of 64"
    ):
        spectrum(STIS, order=88, store=tmp_path)


def test_a_product_that_is_no_spectrum_is_an_error(tmp_path):
    """Of another instrument, what stands in its columns is not known."""
    put(tmp_path, STIS, stis_file(INSTRUME="FOS"))
    with pytest.raises(QueryError, match=r"INSTRUME = 'FOS', HDUs PRIMARY,1, SCI,1\) holds no extracted spectra"):
        spectrum(STIS, order=88, store=tmp_path)


def test_an_observation_is_no_single_file(store):
    with pytest.raises(NotInCloudError, match="odbue5030 names an observation with several files"):
        spectrum("odbue5030", store=store)


def test_on_error_is_one_of_two(store):
    with pytest.raises(QueryError, match="on_error must be 'raise' or 'skip', found 'ignore'"):
        spectra([STIS], on_error="ignore", store=store)


def test_without_specutils_the_error_says_how_to_get_it(monkeypatch, store):
    monkeypatch.setitem(sys.modules, "specutils", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'hst-cloud\[spectra\]'"):
        spectrum(STIS, order=88, store=store)
    assert store.batches == []


@pytest.mark.parametrize(
    ("name", "count"),
    [("stis/odbue5030_x1d.fits", 40), ("cos/ld9m10ujq_x1d.fits", 2), ("cos/ldfd01010_x1dsum.fits.gz", 1)],
)
def test_real_spectra_are_what_astropy_reads(shared_data, tmp_path, name, count):
    """Every row of real files of both instruments."""
    content = (shared_data / "fits" / "hst" / name).read_bytes()
    content = gzip.decompress(content) if name.endswith(".gz") else content
    file = name.rpartition("/")[2].removesuffix(".gz")
    put(tmp_path, file, content)
    found = spectra([file], store=tmp_path)
    assert len(found) == count
    with fits.open(tmp_path / "hst" / "public" / file[:4] / file[:9] / file) as local:
        for number, one in enumerate(found):
            row = local[1].data[number]
            assert one.flux.unit == FLAM
            assert np.array_equal(one.flux.value, row["FLUX"])
            assert np.array_equal(one.spectral_axis.to_value(u.AA), row["WAVELENGTH"])
            assert np.array_equal(one.uncertainty.array, row["ERROR"])
            bad = row["DQ_WGT"] == 0 if "cos" in name else row["DQ"] & local[1].header["SDQFLAGS"] != 0
            assert np.array_equal(one.mask, bad)
            assert one.meta["heliocentric"] is True
            assert one.meta["CAL_VER"] == local[0].header["CAL_VER"]


@pytest.mark.parametrize(
    ("given", "text"),
    [({"order": "87"}, "order='87' is no spectral order"), ({"segment": 1}, "segment=1 is no segment")],
)
def test_what_no_spectrum_can_have_is_refused(store, given, text):
    """It would match none, and an empty list would look as if the files had none."""
    for read in (spectrum, spectra):
        with pytest.raises(QueryError, match=text):
            read(STIS, **given, store=store)
