"""Pictures of results show what the verbs returned, and the map of a file shows what was read of it."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from hypothesis import given
from hypothesis import strategies as st
from sparse_files import Sparse
from specutils import Spectrum

import hst_cloud as hst
from hst_cloud import plots
from hst_cloud.errors import QueryError
from hst_cloud.fits.structure import BLOCK, HDUExtent, Layout
from hst_cloud.plots.maps import parts, summary
from hst_cloud.testing.demo import imaging
from hst_cloud.values import ByteRange


def title(axes):
    return axes.get_title(loc="left"), axes.texts[0].get_text()


def stamp(*, weight=None, **meta):
    data = np.random.default_rng(1).normal(10.0, 1.0, (20, 30))
    image = CCDData(data, unit="electron / s", meta=meta)
    if weight is not None:
        image.weight = weight
    return image


# --- Cutouts and mosaics ---


def test_a_cutout_is_named_and_its_masked_pixels_are_blank():
    """File, target, box and unit are said; what is masked is no number."""
    image = stamp(
        S3KEY="hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", TARGNAME="M$51$", HDU="SCI,1", CUTOUT="[0:20,5:35]"
    )
    image.mask = np.zeros(image.shape, bool)
    image.mask[3, 4] = True
    axes, bar = plots.cutout(image).axes
    assert title(axes) == ("jbqf03gjq_flc.fits  M$51$", "SCI,1 [0:20,5:35], 20 x 30 pixels, 1 masked")
    assert bar.get_ylabel() == "e⁻ / s"
    shown = axes.images[0].get_array().filled(np.nan)
    assert np.argwhere(np.isnan(shown)).tolist() == [[3, 4]]
    assert shown[0, 0] == image.data[0, 0]


def test_a_mosaic_shows_its_weight_and_where_there_is_none():
    """Beside the image lies its weight, blank where nothing was exposed."""
    weight = np.full((20, 30), 100.0)
    weight[:, :5] = 0
    figure = plots.mosaic(stamp(weight=weight))
    (shown,) = figure.axes[1].images or figure.axes[2].images
    assert np.isnan(shown.get_array().filled(np.nan)[:, :5]).all()
    assert shown.get_array().filled(np.nan)[0, 5] == 100.0


def test_what_has_no_weight_is_no_mosaic():
    """The error says what draws it."""
    with pytest.raises(QueryError, match=r"has no attribute 'weight'.*plots\.cutout"):
        plots.mosaic(stamp())


def test_stamps_stand_in_rows(tmp_path):
    """Seven cutouts in rows of three, each under its file's name; any iterable will do."""
    names = [f"jbqf0{n}gjq_flc.fits" for n in range(7)]
    figure = plots.cutouts((stamp(S3KEY=f"a/{name}", TARGNAME="X") for name in names), columns=3)
    assert [axes.get_title() for axes in figure.axes] == names
    assert figure.axes[6].get_subplotspec().rowspan.start == 2
    figure.savefig(tmp_path / "a.png")


@pytest.mark.parametrize("number", [0, 101])
def test_no_stamps_and_too_many_are_an_error(number):
    """A picture of nothing, or of stamps too small to see, is none."""
    with pytest.raises(QueryError, match=f"{number} cutouts cannot be drawn"):
        plots.cutouts([stamp()] * number)


# --- Spectra ---


def curve(flux, *, unit="erg / (s cm2 AA)", mask=None, **meta):
    wavelength = np.linspace(1300, 1400, len(flux)) * u.AA
    return Spectrum(spectral_axis=wavelength, flux=np.array(flux) * u.Unit(unit), mask=mask, meta=meta)


def test_a_spectrum_has_units_and_marks_what_is_flagged():
    """Masked samples are gaps in the line and marks at the foot."""
    mask = np.zeros(50, bool)
    mask[[7, 8]] = True
    spectrum = curve(
        np.full(50, 2e-14), mask=mask, TARGNAME="NGC4151", INSTRUME="COS", DETECTOR="FUV", OPT_ELEM="G130M"
    )
    (axes,) = plots.spectra(spectrum).axes
    assert title(axes) == ("NGC4151", "1 spectrum  COS/FUV  G130M")
    assert axes.get_xlabel() == "Wavelength (Å)"
    assert axes.get_ylabel().startswith("Flux ($10^{-14}$ erg / (")
    assert "cm²" in axes.get_ylabel()
    line, marks = axes.lines
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [7, 8]
    assert marks.get_xdata().tolist() == spectrum.spectral_axis.value[[7, 8]].tolist()
    assert np.nanmax(line.get_ydata()) == pytest.approx(2.0)


def test_several_spectra_share_units_and_are_told_apart(tmp_path):
    """They are drawn in the units of the first, and named by what differs."""
    several = [
        curve(np.full(9, 1.0), unit="Jy", segment="FUVA", file="a"),
        curve(np.full(9, 3e3), unit="mJy", segment="FUVB", file="a"),
    ]
    figure = plots.spectra(several)
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["FUVA", "FUVB"]
    assert [line.get_ydata()[0] for line in figure.axes[0].lines[::2]] == pytest.approx([1.0, 3.0])
    figure.savefig(tmp_path / "a.png")


def test_spectra_that_share_no_units_are_an_error():
    """Counts and fluxes have no common axis; nothing is nothing."""
    with pytest.raises(QueryError, match="different units"):
        plots.spectra([curve([1.0, 2.0]), curve([1.0, 2.0], unit="ct / s")])
    with pytest.raises(QueryError, match="empty"):
        plots.spectra([])


# --- The map of a file ---


KEY = "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"


@pytest.fixture(scope="module")
def true_size(tmp_path_factory):
    """Return a folder with one ACS flc of true size, whose pixels are zeros that nobody stores."""
    folder = tmp_path_factory.mktemp("bucket")
    Sparse(imaging.acs_wfc_flc.to_bytes(scale=64), (2048, 4096)).write(folder / KEY)
    return folder


def test_the_map_of_opening_shows_headers_alone(true_size, tmp_path):
    """All 20 headers, in two round trips, and of the large arrays no more than what lies beside the headers."""
    figure = plots.layout("jbqf03gjq_flc.fits", store=true_size)
    name, said = title(figure.axes[0])
    assert name == "jbqf03gjq_flc.fits"
    assert said.startswith("2 round trips, 7 requests: ")
    assert "of 168 MB" in said
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][:3] == ["0  PRIMARY", "1  SCI,1", "2  ERR,1"]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["round trip 1", "round trip 2"]
    figure.savefig(tmp_path / "a.png")


def test_the_map_shows_the_work_that_is_given(true_size):
    """A cutout's rows come with the last round trip, and the title counts what they cost."""
    figure = plots.layout(
        "jbqf03gjq_flc.fits",
        lambda product, store: hst.cutout(product, (2000, 1000), 100, store=store),
        store=true_size,
    )
    assert title(figure.axes[0])[1].startswith("3 round trips")


@st.composite
def read_layouts(draw):
    """Make a layout and round trips of ranges in it, some behind its end."""
    hdus, at = [], 0
    for _ in range(draw(st.integers(1, 5))):
        header = ByteRange(at, at + BLOCK * draw(st.integers(1, 3)))
        data = ByteRange(header.stop, header.stop + draw(st.integers(0, 3 * BLOCK)))
        hdus.append(HDUExtent(name="SCI", ver=1, header=header, data=data))
        at = hdus[-1].stop
    limits = st.tuples(st.integers(0, at + BLOCK), st.integers(1, at)).map(lambda two: ByteRange(two[0], sum(two)))
    return Layout(key="a", size=at, etag=None, hdus=tuple(hdus)), draw(
        st.lists(st.lists(limits, max_size=4), max_size=4)
    )


@given(read_layouts())
def test_the_parts_are_the_bytes_that_were_read(case):
    """Byte by byte: of each trip's ranges, those in headers and data are drawn, where they lie, and no others."""
    layout, trips = case
    for trip, ranges in enumerate(trips):
        read = {at for one in ranges for at in range(*one)}
        drawn = set()
        for part in (one for one in parts(layout, trips) if one.trip == trip):
            assert 0 <= part.start < part.stop <= 1
            hdu = layout.hdus[part.hdu]
            whole = hdu.header if part.header else hdu.data
            drawn |= set(
                range(whole.start + round(part.start * whole.size), whole.start + round(part.stop * whole.size))
            )
        inside = {at for hdu in layout.hdus for whole in (hdu.header, hdu.data) for at in range(*whole)}
        assert drawn == read & inside
    assert summary(layout, trips).startswith(f"{len(trips)} round trip")
