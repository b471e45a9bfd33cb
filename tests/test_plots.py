"""Quick looks show what is in the file, with names and units, and nothing that the pipeline holds for bad."""

import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from matplotlib.figure import Figure
from support import RecordingStore, put

from hst_cloud import plots
from hst_cloud.errors import FormatError
from hst_cloud.fits.reader import open as open_product


def primary(**cards):
    hdu = fits.PrimaryHDU()
    hdu.header.update(cards)
    return hdu


def drizzled(data):
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 202.47, "CRVAL2": 47.19, "CRPIX1": 50, "CRPIX2": 40,
            "CD1_1": -1.4e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1.4e-5, "BUNIT": "ELECTRONS/S", "RADESYS": "FK5",
        }
    )  # fmt: skip
    first = primary(
        FILENAME="jzdm01010_drc.fits", TARGNAME="M$_$51", INSTRUME="ACS", DETECTOR="WFC", FILTER1="CLEAR1L", FILTER2="F814W",
        DRIZCORR="COMPLETE", EXPTIME=720.0,
    )  # fmt: skip
    return fits.HDUList([first, fits.ImageHDU(data, header, name="SCI"), fits.ImageHDU(data, name="WHT")])


def sky(shape=(80, 100)):
    return np.random.default_rng(1).normal(10.0, 1.0, shape).astype("f4")


def title(figure):
    return figure.axes[0].get_title(loc="left")


def test_an_image_has_coordinates_units_and_names(tmp_path):
    """Title, sky axes and the unit of the values; a dollar in a name is a dollar."""
    figure = plots.quicklook(drizzled(sky()))
    axes, bar = figure.axes
    assert title(figure) == "jzdm01010_drc.fits  M$_$51  ACS/WFC  F814W"
    assert [c.get_axislabel() for c in axes.coords] == ["Right ascension (FK5)", "Declination (FK5)"]
    assert bar.get_ylabel() == "electrons/s"
    figure.savefig(tmp_path / "a.png")


def test_pixels_without_data_do_not_count():
    """NaN, and zero in a drizzled image, neither show nor move the stretch."""
    data = sky()
    data[:30] = 0.0
    data[30:32] = np.nan
    drawn = plots.image(drizzled(data)).axes[0].images[0]
    assert drawn.get_array().mask.sum() == 32 * 100 or np.isnan(drawn.get_array().filled(np.nan)).sum() == 32 * 100
    assert 5.0 < drawn.norm.vmin < 10.0
    assert 10.0 < drawn.norm.vmax < 20.0


def test_a_bright_star_and_a_dead_column_leave_the_sky_visible():
    """The stretch is set by the many pixels, not by the few."""
    data = sky((100, 100))
    data[50, 50] = 1e6
    data[:, 7] = -1e5
    norm = plots.image(drizzled(data)).axes[0].images[0].norm
    assert norm.vmin > 0
    assert norm.vmax < 100


@pytest.mark.parametrize("data", [np.full((9, 9), np.nan, "f4"), np.zeros((9, 9), "f4"), np.full((9, 9), 7.0, "f4")])
def test_images_without_contrast_are_drawn(data, tmp_path):
    """An empty or constant image is no error."""
    plots.image(drizzled(data)).savefig(tmp_path / "a.png")


def test_only_the_center_is_read(tmp_path):
    """The section that is asked for is read, in one batch, and its pixels keep their coordinates."""
    data = np.arange(400 * 300, dtype="f4").reshape(400, 300) + 1
    store = RecordingStore(tmp_path)
    name = put(tmp_path, "jzdm01010_drc.fits", drizzled(data))
    with open_product(f"s3://stpubdata/{name}", store=store) as hdul:
        opened = len(store.batches)
        drawn = plots.quicklook(hdul, pixels=50).axes[0].images[0]
        assert len(store.batches) - opened <= 1
    assert drawn.get_extent() == [124.5, 174.5, 174.5, 224.5]
    assert np.array_equal(drawn.get_array().filled(), data[175:225, 125:175])


def test_a_product_is_opened_and_named(tmp_path):
    """The title calls a product by its file name, whatever the header says."""
    put(tmp_path, "jzdm01aaq_flt.fits", drizzled(sky()))
    assert title(plots.quicklook("jzdm01aaq_flt.fits", store=tmp_path)).startswith("jzdm01aaq_flt.fits  M$_$51")


def test_an_image_without_sky_has_pixels():
    """A raw file's lack of coordinates is no error."""
    hdul = fits.HDUList([primary(), fits.ImageHDU(sky(), name="SCI")])
    assert plots.quicklook(hdul).axes[0].get_xlabel() == "x (pixels, from 0)"


def cos(flux, dq, weight):
    length = len(flux)
    columns = [
        fits.Column("SEGMENT", "4A", array=["FUVA"]),
        fits.Column("WAVELENGTH", f"{length}D", unit="angstrom", array=[np.linspace(1130.0, 1430.0, length)]),
        fits.Column("FLUX", f"{length}E", unit="erg /s /cm**2 /angstrom", array=[flux]),
        fits.Column("DQ", f"{length}I", array=[dq]),
        fits.Column("DQ_WGT", f"{length}E", array=[weight]),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="SCI")
    table.header["SDQFLAGS"] = 8346
    table.header["EXPTIME"] = 1881.2
    return fits.HDUList([primary(INSTRUME="COS", DETECTOR="FUV", OPT_ELEM="G130M", CENWAVE=1291), table])


def test_a_spectrum_leaves_out_what_is_flagged():
    """Serious flags and weights of zero are gaps; a flag that is not serious is none."""
    flux = np.full(1000, 3e-14)
    dq, weight = np.zeros(1000, int), np.ones(1000)
    dq[10], dq[20], weight[30] = 8, 1, 0.0
    figure = plots.quicklook(cos(flux, dq, weight))
    assert figure.axes[0].get_ylabel() == "Flux ($10^{-14}$ erg/s/cm²/Å)"
    assert figure.axes[0].get_xlabel() == "Wavelength (Å)"
    assert title(figure) == "the file  COS/FUV  G130M 1291"
    (line,) = figure.axes[0].lines
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [10, 30]
    assert np.nanmax(line.get_ydata()) == pytest.approx(3.0)


def test_airglow_does_not_hide_the_target():
    """The flux axis is fitted to what lies outside of Lyman alpha."""
    flux = np.full(3000, 3e-14)
    wavelength = np.linspace(1130.0, 1430.0, 3000)
    flux[(wavelength > 1213) & (wavelength < 1218)] = 1e-10
    flux[::2] *= 1.1
    top = plots.spectrum(cos(flux, np.zeros(3000, int), np.ones(3000))).axes[0].get_ylim()[1]
    assert 3.0 < top < 4.5


def test_a_spectrum_of_nothing_is_drawn(tmp_path):
    """All samples flagged: axes without a line, and no error."""
    plots.quicklook(cos(np.ones(100), np.full(100, 8), np.zeros(100))).savefig(tmp_path / "a.png")


def fgs(samples):
    header = {
        f"GTYPE{n}": name for n, name in enumerate(["PMTXA", "PMTXB", "PMTYA", "PMTYB", "SSENCA", "SSENCB", "FLAGS"], 1)
    }
    hdu = fits.PrimaryHDU(samples)
    hdu.header.update(header | {"INSTRUME": "FGS", "CD1_1": 0.025, "CRPIX1": 1.0, "FILL1": 99999998, "FILL2": 99999999})
    return fits.HDUList([hdu])


def test_counts_are_of_the_four_photomultipliers():
    """Time is the sample's number times 25 ms from zero, and fill values are gaps."""
    samples = np.arange(7)[:, None] * 1000 + np.arange(400, dtype="i4")
    samples[0, 5], samples[3, 6] = 99999998, 99999999
    figure = plots.quicklook(fgs(samples.astype("i4")))
    lines = [line for axes in figure.axes for line in axes.lines]
    assert [line.get_label() for line in lines] == ["PMT XA", "PMT XB", "PMT YA", "PMT YB"]
    assert lines[0].get_xdata()[[0, 40]] == pytest.approx([0.0, 1.0])
    assert [line.get_ydata()[8] for line in lines] == [8, 1008, 2008, 3008]
    assert np.flatnonzero(np.isnan(lines[0].get_ydata())).tolist() == [5]
    assert np.flatnonzero(np.isnan(lines[3].get_ydata())).tolist() == [6]
    assert figure.axes[1].get_ylabel() == "Y axis (counts / 25 ms)"


def test_many_samples_are_drawn_as_means(tmp_path):
    """A long series is drawn as means, of which each is that of its samples."""
    samples = np.tile(np.arange(9000, dtype="i4"), (7, 1))
    samples[0, :10] = 99999999
    line = plots.counts(fgs(samples)).axes[0].lines[0]
    assert len(line.get_ydata()) == 900
    assert np.isnan(line.get_ydata()[0])
    assert line.get_ydata()[1] == pytest.approx(14.5)


def test_events_fall_where_they_fell():
    """As many events as the table has."""
    columns = [fits.Column(n, "E", array=np.arange(50.0)) for n in ("TIME", "XCORR", "YCORR")]
    figure = plots.quicklook(
        fits.HDUList([primary(INSTRUME="COS"), fits.BinTableHDU.from_columns(columns, name="EVENTS")])
    )
    assert figure.axes[0].get_xlabel() == "XCORR (pixels)"
    assert figure.axes[0].collections[0].get_array().sum() == 50


@pytest.mark.parametrize("draw", [plots.quicklook, plots.image, plots.spectrum, plots.counts, plots.events])
def test_nothing_to_draw_is_named(draw):
    """The error says which file it was, and what was expected."""
    hdul = fits.HDUList([primary(FILENAME="jzdm01010_asn.fits")])
    with pytest.raises(FormatError, match=r"jzdm01010_asn\.fits (has|holds) no"):
        draw(hdul)


def test_pyplot_is_left_alone(tmp_path):
    """Nothing of the user's own plotting changes: pyplot is not even imported, and no display is needed."""
    program = (
        "import sys, hst_cloud.plots as p; from astropy.io import fits; import numpy as np;"
        "h = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.eye(9))]);"
        f"p.quicklook(h).savefig({str(tmp_path / 'a.png')!r}); print('matplotlib.pyplot' in sys.modules)"
    )
    env = {k: v for k, v in os.environ.items() if k not in {"DISPLAY", "MPLBACKEND"}}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("acs/j94f05bgq_flt.fits", "image"),
        ("wfc3/ibxy07p9q_ima.fits", "image"),
        ("stis/odbue5030_x1d.fits", "spectrum"),
        ("cos/ld9m10ujq_x1d.fits", "spectrum"),
        ("cos/ld9m10ujq_corrtag_a.fits", "events"),
        ("gsfc_samples/HST_FGS.fits", "counts"),
    ],
)
def test_real_files(shared_data, name, kind, tmp_path):
    """Real products are recognized and drawn."""
    with fits.open(shared_data / "fits" / "hst" / name) as hdul:
        assert plots.kind_of(hdul) == kind
        figure = plots.quicklook(hdul)
    assert isinstance(figure, Figure)
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000
