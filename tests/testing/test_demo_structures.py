"""The structures of the demonstration's files, judged by astropy and by the listings of real files."""

from __future__ import annotations

import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from hst_cloud.testing.demo import cos, imaging, mosaics, sensors, stis, structures, support, targets
from hst_cloud.testing.demo.scenes import transfer

SCALE = 64

# name: (EXTNAME, EXTVER, cards, shape at full size or number of columns) of every HDU, from listings of real files
TABLES = [("D2IMARR", n) for n in (1, 2, 3, 4)] + [("WCSDVARR", n) for n in (1, 2, 3, 4)]
CHIP = (2048, 4096)
LISTINGS = {
    imaging.acs_wfc_flc: [  # jbqf03gjq_flc.fits
        ("PRIMARY", 1, 285, ()),
        ("SCI", 1, 241, CHIP), ("ERR", 1, 53, CHIP), ("DQ", 1, 45, CHIP),
        ("SCI", 2, 256, CHIP), ("ERR", 2, 53, CHIP), ("DQ", 2, 45, CHIP),
        *[(name, version, 16, None) for name, version in TABLES],
        ("HDRLET", 1, 18, None), ("HDRLET", 2, 26, None), ("WCSCORR", 1, 59, 24), ("HDRLET", 18, 26, None),
        ("HDRLET", 4, 26, None),
    ],
    imaging.acs_wfc_flt: [  # jczgx1ppq_flc.fits
        ("PRIMARY", 1, 279, ()),
        ("SCI", 1, 200, CHIP), ("ERR", 1, 56, CHIP), ("DQ", 1, 48, CHIP),
        ("SCI", 2, 198, CHIP), ("ERR", 2, 56, CHIP), ("DQ", 2, 48, CHIP),
        *[(name, version, 15, None) for name, version in TABLES], ("WCSCORR", 1, 59, 24),
    ],
    imaging.wfc3_uvis_flc: [  # icb701osq_flc.fits
        ("PRIMARY", 1, 305, ()),
        ("SCI", 1, 224, (2051, 4096)), ("ERR", 1, 51, (2051, 4096)), ("DQ", 1, 43, (2051, 4096)),
        ("SCI", 2, 220, (2051, 4096)), ("ERR", 2, 51, (2051, 4096)), ("DQ", 2, 43, (2051, 4096)),
        ("HDRLET", 1, 18, None), *[("HDRLET", n, 26, None) for n in (2, 3, 4, 5)], ("WCSCORR", 1, 59, 24),
        ("WCSDVARR", 1, 15, None), ("WCSDVARR", 2, 15, None), ("D2IMARR", 1, 15, None), ("D2IMARR", 2, 15, None),
        ("WCSDVARR", 3, 15, None), ("WCSDVARR", 4, 15, None), ("D2IMARR", 3, 15, None), ("D2IMARR", 4, 15, None),
        *[("HDRLET", n, 26, None) for n in (6, 7, 8)],
    ],
    imaging.wfc3_ir_flt: [  # iczgs3ygq_flt.fits
        ("PRIMARY", 1, 265, ()),
        ("SCI", 1, 140, (1014, 1014)), ("ERR", 1, 51, (1014, 1014)), ("DQ", 1, 43, (1014, 1014)),
        ("SAMP", 1, 37, (1014, 1014)), ("TIME", 1, 37, (1014, 1014)), ("WCSCORR", 1, 59, 24),
    ],
    imaging.wfc3_ir_ima: [  # ibxy07p9q_ima.fits, full frame
        ("PRIMARY", 1, 260, ()),
        *[
            (name, n, cards, shape)
            for n in (1, 2, 3, 4)
            for name, cards, shape in (
                ("SCI", 81, (1024, 1024)), ("ERR", 43, (1024, 1024)), ("DQ", 35, (1024, 1024)),
                ("SAMP", 30, ()), ("TIME", 30, ()),
            )
        ],
    ],
    imaging.acs_wfc_raw: [  # cards of j6gp01mkq_raw.fits
        ("PRIMARY", 1, 221, ()),
        ("SCI", 1, 86, (2068, 4144)), ("ERR", 1, 49, ()), ("DQ", 1, 43, ()),
        ("SCI", 2, 86, (2068, 4144)), ("ERR", 2, 49, ()), ("DQ", 2, 43, ()),
    ],
    mosaics.acs_wfc_drz: [  # jbeveo010_drz.fits
        ("PRIMARY", 1, 857, ()), ("SCI", 1, 82, (4313, 4240)), ("WHT", 1, 44, (4313, 4240)),
        ("CTX", 1, 37, (4313, 4240)), ("HDRTAB", 1, 595, 293),
    ],
    mosaics.wfc3_uvis_drc: [  # ifry01e??_drc.fits, full frame
        ("PRIMARY", 1, 811, ()), ("SCI", 1, 86, (4380, 4436)), ("WHT", 1, 45, (4380, 4436)),
        ("CTX", 1, 40, (4380, 4436)), ("HDRTAB", 1, 561, 276),
    ],
    cos.cos_x1d: [("PRIMARY", 1, 179, ()), ("SCI", 1, 337, 20)],  # ld9m10ujq_x1d.fits
    cos.cos_x1dsum: [("PRIMARY", 1, 178, ()), ("SCI", 1, 311, 12)],  # ldfd01010_x1dsum.fits
    cos.cos_corrtag_a: [  # ld9m10ujq_corrtag_a.fits
        ("PRIMARY", 1, 179, ()), ("EVENTS", 1, 335, 12), ("GTI", 1, 22, 2), ("TIMELINE", 1, 340, 12),
    ],
    cos.cos_rawtag_a: [("PRIMARY", 1, 179, ()), ("EVENTS", 1, 301, 4), ("GTI", 1, 22, 2)],  # ldfd01vnq_rawtag_a.fits
    stis.stis_echelle_x1d: [("PRIMARY", 1, 297, ()), ("SCI", 1, 157, 19)],  # odbue5030_x1d.fits
    stis.stis_ccd_x1d: [("PRIMARY", 1, 274, ()), ("SCI", 1, 156, 19)],  # odj102010_x1d.fits
    stis.stis_ccd_raw: [  # o4sp040b0_raw.fits, full frame
        ("PRIMARY", 1, 215, ()),
        ("SCI", 1, 141, (1044, 1062)), ("ERR", 1, 71, ()), ("DQ", 1, 71, ()),
        ("SCI", 2, 141, (1044, 1062)), ("ERR", 2, 71, ()), ("DQ", 2, 71, ()),
    ],
    stis.stis_ccd_flt: [  # o4k19a010_flt.fits
        ("PRIMARY", 1, 263, ()),
        ("SCI", 1, 101, (1024, 1024)), ("ERR", 1, 53, (1024, 1024)), ("DQ", 1, 36, (1024, 1024)),
        ("SCI", 2, 101, (1024, 1024)), ("ERR", 2, 53, (1024, 1024)), ("DQ", 2, 36, (1024, 1024)),
    ],
    support.spt: [("PRIMARY", 1, 344, ()), ("UDL", 1, 305, None)],  # jbz504eoq_spt.fits
    support.asn: [("PRIMARY", 1, 44, ()), ("ASN", 1, 25, 3)],  # jcmc11010_asn.fits
    support.trl: [("PRIMARY", 1, 6, ()), ("trl", 1, 12, 1)],  # ldfd01vlq_trl.fits
    support.jit: [("PRIMARY", 1, 26, ()), ("jit", 1, 102, 28), ("jit", 2, 102, 28)],  # ldfd01010_jit.fits
    support.jif: [("PRIMARY", 1, 77, ()), ("jit", 1, 86, None), ("jit", 2, 86, None)],  # ldfd01010_jif.fits
    sensors.fgs_a1f: [("PRIMARY", 1, 231, None), ("fzdm0101m_cvt.a1h.tab", 1, 53, 6)],  # f64y0106m_a1f
}  # fmt: skip
EVERYTHING = [
    getattr(module, name)
    for module in (cos, imaging, mosaics, sensors, stis, support)
    for name in module.__all__
    if isinstance(getattr(module, name), structures.Structure)
]


def identity(structure):
    return structure.build.__name__


@pytest.mark.parametrize("structure", LISTINGS, ids=identity)
def test_a_structure_is_that_of_the_real_file(structure):
    """Names, versions, order, numbers of cards and shapes are those that were listed."""
    with structure(scale=SCALE) as hdus:
        assert len(hdus) == len(LISTINGS[structure])
        for hdu, (name, version, cards, form) in zip(hdus, LISTINGS[structure], strict=True):
            assert (hdu.name.upper(), hdu.ver, len(hdu.header)) == (name.upper(), version, cards)
            assert name == "PRIMARY" or hdu.header["EXTNAME"] == name  # the case too
            if isinstance(form, tuple):
                assert hdu.shape == tuple(length // SCALE for length in form)
            elif form is not None:
                assert len(hdu.columns) == form


@pytest.mark.parametrize("structure", EVERYTHING, ids=identity)
def test_every_structure_meets_the_standard(structure):
    """Astropy finds nothing to complain of, and every array can be read."""
    with structure(scale=SCALE) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["FILENAME"]
        for hdu in hdus[1:]:
            if isinstance(hdu, fits.BinTableHDU):
                assert len(hdu.data)
            elif hdu.header["NAXIS"]:
                assert hdu.data is not None
        late = structure.suffix.startswith(
            "corrtag"
        )  # calcos adds TIMELINE and does not count it, in the real files too
        assert hdus[0].header.get("NEXTEND", len(hdus) - 1) == len(hdus) - 1 - late


@pytest.mark.parametrize("structure", EVERYTHING, ids=identity)
def test_the_same_arguments_give_the_same_bytes(structure):
    """Nothing but the arguments enters a file, the name among them; another seed changes the noise alone."""
    first = structure.to_bytes(scale=SCALE, seed=1)
    assert structure.to_bytes(scale=SCALE, seed=1) == first
    assert len(structure.to_bytes(scale=SCALE, seed=2)) == len(first)


def test_a_structure_takes_another_name():
    """The name goes into the headers."""
    with imaging.acs_wfc_flc(rootname="jbqf03gjq", scale=SCALE) as hdus:
        assert hdus[0].header["ROOTNAME"] == "jbqf03gjq"
        assert hdus[0].header["FILENAME"] == "jbqf03gjq_flc.fits"
        assert hdus["SCI", 2].header["EXPNAME"] == "jbqf03gjq"


def test_full_size_is_full_size():
    """At scale 1 shapes and sizes are those of the real thing."""
    with cos.cos_x1d(scale=1) as hdus:
        assert hdus[1].columns["WAVELENGTH"].format == "16384D"
    with stis.stis_echelle_x1d(scale=1) as hdus:
        assert hdus[1].data["FLUX"].shape == (40, 1024)
    with sensors.fgs_a1f(scale=1) as hdus:
        assert hdus[0].data.shape == (7, 89688)
    with imaging.wfc3_ir_flt(scale=1) as hdus:
        assert hdus["SCI"].data.shape == (1014, 1014)


def test_no_scale_below_one():
    """A scale that would enlarge is refused."""
    with pytest.raises(ValueError, match="scale=0"):
        imaging.acs_wfc_flc(scale=0)


def test_a_headerlet_holds_a_fits_file():
    """The payload of an HDRLET opens, and its table of offsets points at its extensions."""
    with imaging.acs_wfc_flc(scale=SCALE) as hdus:
        assert hdus["HDRLET", 1].header["NAXIS1"] == 8640
        large = hdus["HDRLET", 18]
        payload = bytes(large.data)
        assert len(payload) == large.header["NAXIS1"] == 112320
        with fits.open(io.BytesIO(payload)) as inner:
            inner.verify("exception")
            assert [hdu.name for hdu in inner[1:6]] == ["SIPWCS", "WCSDVARR", "WCSDVARR", "D2IMARR", "D2IMARR"]
            starts = [inner.fileinfo(n)["hdrLoc"] for n in range(1, 11)]
            assert starts == [large.header[f"XIND{n}"] for n in range(1, 11)]


def test_constant_arrays_have_no_data():
    """ERR and DQ of raw files, SAMP and TIME of ramps are one number: NAXIS is 0, the shape is in keywords."""
    with imaging.acs_wfc_raw(scale=SCALE) as hdus:
        header = hdus["ERR", 1].header
        assert (header["NAXIS"], header["NPIX1"], header["NPIX2"], header["PIXVALUE"]) == (0, 64, 32, 0.0)
        assert hdus["DQ", 2].data is None
        assert hdus["SCI", 1].header["BZERO"] == 32768
        assert hdus["SCI", 1].data.dtype == np.uint16
    with imaging.wfc3_ir_ima(scale=SCALE) as hdus:
        assert [hdus["SAMP", n].header["PIXVALUE"] for n in (1, 2, 3, 4)] == [4, 3, 2, 1]
        assert hdus["TIME", 4].header["PIXVALUE"] == 0.0
        assert hdus["TIME", 1].header["PIXVALUE"] == pytest.approx(targets.CLUSTER_IR_FIRST.seconds)


def test_a_combined_header_is_larger_than_a_first_read():
    """The primary header of a drz needs more than 64 KiB, which readers must expect."""
    with mosaics.acs_wfc_drz(scale=SCALE) as hdus:
        assert len(hdus[0].header.tostring()) > 65536
        assert len(hdus["HDRTAB"].data) == 10
        assert set(hdus["HDRTAB"].data["FILTER2"]) == {"F814W"}


@pytest.mark.parametrize("scale", [64, 16, 7, 1])
@pytest.mark.parametrize("exposure", [targets.SPIRAL_FIRST, targets.CLUSTER_UVIS_FIRST])
def test_distortion_tables_move_positions_by_a_tenth_of_a_pixel(exposure, scale):
    """The WCS with its tables differs from the polynomial alone by what the tables say, at any scale."""
    from hst_cloud.testing.demo import geometry

    detector = geometry.DETECTORS[exposure.detector]
    rows, columns = detector.scaled_shape(scale)
    x, y = (part.ravel() for part in np.meshgrid(np.linspace(0, columns - 1, 40), np.linspace(0, rows - 1, 40)))
    for number in (1, 2):
        cards = geometry.solution_cards(exposure, number, scale)
        whole = geometry.wcs(cards, scale, tables=True)
        plain = geometry.wcs(geometry.solution_cards(exposure, number, scale, tables=False), scale, tables=False)
        # what the tables add, by astropy's own reading of them, in pixels of this scale
        added = np.column_stack(whole.pix2foc(x, y, 1)) - np.column_stack(plain.sip_pix2foc(x, y, 1))
        sky = np.column_stack(whole.all_pix2world(x, y, 0)) - np.column_stack(plain.all_pix2world(x, y, 0))
        arcsec = np.hypot(sky[:, 0] * np.cos(np.radians(exposure.target.dec)), sky[:, 1]) * 3600
        pixels = arcsec / detector.pixel
        assert 0.05 < pixels.max() < 0.25
        assert pixels.std() > 0.01
        assert np.isfinite(added).all()


def test_astropy_finds_the_tables_in_the_file():
    """`WCS(header, hdul)` reads D2IMARR and WCSDVARR of the chip's own versions."""
    with imaging.acs_wfc_flc(scale=SCALE) as hdus:
        wcs = WCS(hdus["SCI", 2].header, hdus)
        assert wcs.sip is not None
        np.testing.assert_array_equal(wcs.det2im1.data, hdus["D2IMARR", 3].data)
        np.testing.assert_array_equal(wcs.det2im2.data, hdus["D2IMARR", 4].data)
        np.testing.assert_array_equal(wcs.cpdis1.data, hdus["WCSDVARR", 3].data)
        np.testing.assert_array_equal(wcs.cpdis2.data, hdus["WCSDVARR", 4].data)


@pytest.mark.parametrize("structure", [imaging.acs_wfc_flc, imaging.wfc3_uvis_flc], ids=identity)
def test_chips_adjoin_on_the_sky(structure):
    """The upper edge of the first chip lies a few arcseconds below the lower edge of the second, all along."""
    with structure(scale=16) as hdus:
        lower, upper = (WCS(hdus["SCI", n].header, hdus) for n in (1, 2))
        rows, columns = hdus["SCI", 1].shape
        x = np.linspace(0, columns - 1, 9)
        top = lower.all_pix2world(x, np.full(9, rows - 0.5), 0)
        bottom = upper.all_pix2world(x, np.full(9, -0.5), 0)
        declination = np.cos(np.radians(top[1]))
        gap = np.hypot((bottom[0] - top[0]) * declination, bottom[1] - top[1]) * 3600
        assert gap.min() > 0.3
        assert gap.max() < 4.5


def test_a_place_is_the_same_at_any_scale():
    """An image scaled down sees the same field: corners agree to a tenth of a full-size pixel."""
    from hst_cloud.testing.demo import geometry

    exposure = targets.SPIRAL_FIRST
    corners = []
    for scale in (1, 16):
        wcs = geometry.wcs(geometry.solution_cards(exposure, 2, scale), scale, tables=True)
        corners.append(geometry.corners(wcs, geometry.WFC.scaled_shape(scale)))
    assert np.abs(corners[0] - corners[1]).max() * 3600 < 0.005


def test_stars_are_where_the_sky_has_them():
    """The brightest star of the cluster's field stands at one place of the sky in both exposures and their sum."""
    from hst_cloud.testing.demo.scenes import scene

    target = targets.CLUSTER_UVIS.target
    stars = scene(target.name, (target.ra, target.dec), structures.SEED).stars
    away = np.hypot(stars[:, 0], stars[:, 1])
    usable = np.flatnonzero((away > 20) & (away < 55) & (np.abs(stars[:, 1]) < 55))
    brightest = stars[usable[np.argmax(stars[usable, 2])]]
    from hst_cloud.testing.demo.geometry import unplane

    ra, dec = unplane(brightest[0], brightest[1], (target.ra, target.dec))
    found = 0
    files = [imaging.wfc3_uvis_flc(member, scale=8) for member in targets.CLUSTER_UVIS.members]
    for hdus in [*files, mosaics.wfc3_uvis_drc(scale=8)]:
        for number in (1, 2):
            if ("SCI", number) not in hdus:
                continue
            data, wcs = hdus["SCI", number].data, WCS(hdus["SCI", number].header, hdus)
            x, y = (int(np.rint(float(v))) for v in wcs.all_world2pix(ra, dec, 0, quiet=True))
            if not (3 <= x < data.shape[1] - 3 and 3 <= y < data.shape[0] - 3):
                continue
            box = data[y - 3 : y + 4, x - 3 : x + 4]
            row, column = np.unravel_index(np.argmax(box), box.shape)
            assert abs(row - 3) <= 1
            assert abs(column - 3) <= 1
            assert box.max() > 5 * np.median(data)
            found += 1
    assert found == 3


def test_errors_are_those_of_counts_and_read_noise():
    """ERR is the root of the electrons and the squared read noise; cosmic rays are bright and flagged."""
    with imaging.acs_wfc_flc(scale=16) as hdus:
        science, error, quality = (hdus[name, 1].data for name in ("SCI", "ERR", "DQ"))
        np.testing.assert_allclose(error, np.sqrt(np.maximum(science, 0) + 4.2**2), rtol=1e-5)
        hit = (quality & 4096) > 0
        assert 0.001 < hit.mean() < 0.02
        assert np.median(science[hit]) > 3 * np.median(science[~hit])
        sky = hdus["SCI", 1].header["MDRIZSKY"]
        assert sky == pytest.approx(39.0 * 0.05**2 * 360, rel=1e-6)
        assert science.min() < np.percentile(science, 5) < 3 * sky


def test_fluxes_and_counts_belong_together():
    """NET is GROSS less BACKGROUND, FLUX / ERROR is the signal to noise of the counts, outside the detector is flagged."""
    with cos.cos_x1d(scale=16) as hdus:
        for row in hdus[1].data:
            lit = row["DQ"] == 0
            np.testing.assert_allclose(row["GROSS"], row["GCOUNTS"] / row["EXPTIME"], rtol=1e-5)
            np.testing.assert_allclose(row["NET"], row["GROSS"] - row["BACKGROUND"], rtol=1e-4, atol=1e-6)
            ratio = row["FLUX"][lit] / row["ERROR"][lit]
            np.testing.assert_allclose(
                ratio, (row["NET"] * row["EXPTIME"] / np.sqrt(row["GCOUNTS"] + 1))[lit], rtol=1e-3
            )
            assert (np.diff(row["WAVELENGTH"]) > 0).all()
            assert (row["DQ"] & 128 > 0).any()
        assert [row["SEGMENT"] for row in hdus[1].data] == ["FUVA", "FUVB"]
        blue = hdus[1].data[1]
        inside = (blue["WAVELENGTH"] > 1217.5) & (blue["WAVELENGTH"] < 1226)
        assert blue["FLUX"][inside].mean() > 3 * np.median(blue["FLUX"][blue["DQ"] == 0])  # Lyman alpha


def test_echelle_orders_overlap():
    """Forty orders cover the grating's range without a gap."""
    with stis.stis_echelle_x1d(scale=16) as hdus:
        table = hdus[1].data
        assert list(table["SPORDER"]) == list(range(87, 127))
        first, last = table["WAVELENGTH"][:, 0], table["WAVELENGTH"][:, -1]
        assert (last[1:] > first[:-1]).all()
        assert first.min() < 1620
        assert last.max() > 2360
        np.testing.assert_allclose(
            table["FLUX"] * table["NET_ERROR"], table["NET"] * table["ERROR"], rtol=1e-4, atol=1e-17
        )


def test_events_make_the_spectrum():
    """Photons are in the order of time, on the detector, and thickest where the flux is highest."""
    with cos.cos_corrtag_b(scale=16) as hdus:
        events = hdus["EVENTS"].data
        assert (np.diff(events["TIME"]) >= 0).all()
        assert events["TIME"].max() <= hdus["GTI"].data["STOP"][0]
        assert events["RAWX"].min() >= 0
        assert events["RAWX"].max() < 16384
        counts, edges = np.histogram(events["WAVELENGTH"], bins=60)
        assert abs(edges[np.argmax(counts)] - 1216) < 6
        assert len(hdus["TIMELINE"].data) == 1880 // 16


def test_photomultipliers_show_the_fringe():
    """While a sensor scans, tube A gains what tube B loses; lost samples and the end of the flags are filled."""
    with sensors.fgs_a1f(scale=4) as hdus:
        data = hdus[0].data
        assert data.shape == (7, 89688 // 4)
        assert data.dtype == np.dtype(">i4")
        assert (data[:4] == sensors.BAD).sum() == 12
        good = (data[:4] != sensors.BAD).all(axis=0)
        a, b = data[0][good].astype(float), data[1][good].astype(float)
        slewing = a + b < 50
        assert 0.08 < slewing.mean() < 0.16
        fringe = (a - b)[~slewing] / (a + b)[~slewing]
        smooth = np.convolve(fringe, np.ones(5) / 5, "same")
        assert smooth.max() > 0.25
        assert smooth.min() < -0.25
        assert (data[6][data.shape[1] // 6 :] == sensors.FILL).all()
        assert hdus[0].header["GTYPE1"] == "PMTXA"
        assert hdus[1].data["CTYPE1"][0].strip() == "SECONDS"
    with sensors.fgs_a2f(scale=4) as hdus:
        good = hdus[0].data[0] != sensors.BAD
        assert hdus[0].data[0][good].std() < 60  # it tracks a guide star


def test_a_companion_distorts_the_fringe():
    """The fringe of a single star is odd about its null; that of a double star is not."""
    angle = np.linspace(-0.3, 0.3, 201)
    single = transfer(angle, 0.0, 0.0)
    double = transfer(angle, 0.1, 0.5)
    np.testing.assert_allclose(single, -single[::-1], atol=1e-12)
    assert np.abs(double + double[::-1]).max() > 0.05


def test_headers_say_what_a_catalog_needs():
    """Instrument, target, times, proposal, filters, calibration and photometry are where catalogs look for them."""
    with imaging.acs_wfc_flc(scale=SCALE) as hdus:
        first, second = hdus[0].header, hdus["SCI", 1].header
        assert (first["TELESCOP"], first["INSTRUME"], first["DETECTOR"]) == ("HST", "ACS", "WFC")
        assert (first["TARGNAME"], first["FILTER1"], first["FILTER2"]) == ("M51", "CLEAR1L", "F814W")
        assert first["EXPEND"] - first["EXPSTART"] == pytest.approx(first["EXPTIME"] / 86400)
        assert (first["DATE-OBS"], first["TIME-OBS"]) == ("2024-01-01", "06:00:00")
        assert (first["ASN_ID"], first["ASN_TAB"]) == ("JZDM01010", "jzdm01010_asn.fits")
        assert first["CAL_VER"]
        assert second["BUNIT"] == "ELECTRONS"
        assert second["PHOTFLAM"] == pytest.approx(7.0769e-20)
        assert second["S_REGION"].startswith("POLYGON ICRS 202.")
        assert second["WCSNAME"]
    with cos.cos_x1d(scale=SCALE) as hdus:
        assert (hdus[0].header["OPT_ELEM"], hdus[0].header["CENWAVE"]) == ("G130M", 1291)
        assert hdus[1].header["EXPTIME"] == pytest.approx(1880.2)
    with support.jit(scale=SCALE) as hdus:
        assert hdus[0].header["INSTRUME"] == "FGS"  # whatever the instrument
    with support.spt(scale=SCALE) as hdus:
        assert "DETECTOR" not in hdus[0].header


def test_keywords_are_those_of_real_files(shared_data):
    """What a header of ours says, a real header of its kind says too, but for the few that fill it."""
    real = {
        (imaging.acs_wfc_flc, 0): ("drizzlepac_samples/sample_flc_header.fits", 0),
        (imaging.acs_wfc_flc, 1): ("drizzlepac_samples/sample_flc_header.fits", 1),
        (imaging.wfc3_uvis_flc, 0): ("drizzlepac_samples/sample_ipppssoot_flc.fits", 0),
        (imaging.wfc3_ir_flt, 0): ("drizzlepac_samples/sample_ipppssoot_flt.fits", 0),
        (cos.cos_x1d, 0): ("cos/ld9m10ujq_x1d.fits", 0),
        (cos.cos_x1d, 1): ("cos/ld9m10ujq_x1d.fits", 1),
        (cos.cos_corrtag_a, 3): ("cos/ld9m10ujq_corrtag_a.fits", 3),
        (stis.stis_echelle_x1d, 0): ("stis/odbue5030_x1d.fits", 0),
        (stis.stis_echelle_x1d, 1): ("stis/odbue5030_x1d.fits", 1),
        (sensors.fgs_a1f, 0): ("gsfc_samples/HST_FGS.fits", 0),
    }
    for (structure, number), (name, there) in real.items():
        theirs = set(fits.getheader(shared_data / "fits" / "hst" / name, there))
        with structure(scale=SCALE) as hdus:
            ours = set(hdus[number].header)
        assert len(ours & theirs) > 0.8 * len(ours), (identity(structure), sorted(ours - theirs))


def test_columns_are_those_of_real_files(shared_data):
    """Names, order, formats but for the length, and units of tables are the real ones."""
    real = {
        (cos.cos_x1d, 1): ("cos/ld9m10ujq_x1d.fits", 1),
        (cos.cos_x1dsum, 1): ("cos/ldfd01010_x1dsum.fits.gz", 1),
        (cos.cos_corrtag_a, 1): ("cos/ld9m10ujq_corrtag_a.fits", 1),
        (cos.cos_corrtag_a, 2): ("cos/ld9m10ujq_corrtag_a.fits", 2),
        (cos.cos_corrtag_a, 3): ("cos/ld9m10ujq_corrtag_a.fits", 3),
        (cos.cos_rawtag_a, 1): ("cos/ldfd01vnq_rawtag_a.fits.gz", 1),
        (stis.stis_echelle_x1d, 1): ("stis/odbue5030_x1d.fits", 1),
        (support.jit, 1): ("cos/ldfd01010_jit.fits.gz", 1),
        (support.asn, 1): ("acs/jcmc11010_asn.fits", 1),
        (support.trl, 1): ("cos/ldfd01vlq_trl.fits.gz", 1),
        (sensors.fgs_a1f, 1): ("gsfc_samples/HST_FGS.fits", 1),
        (imaging.acs_wfc_flc, 17): ("drizzlepac_samples/sample_flc_header.fits", 19),
    }
    for (structure, number), (name, there) in real.items():
        scale = SCALE if structure is imaging.acs_wfc_flc else 1  # the lengths of spectra are part of their formats
        with structure(scale=scale) as ours, fits.open(shared_data / "fits" / "hst" / name) as theirs:
            found = [(c.name, c.format, c.unit or None) for c in ours[number].columns]
            assert found == [(c.name, c.format, c.unit or None) for c in theirs[there].columns], identity(structure)
