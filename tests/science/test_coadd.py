"""Co-added spectra against direct sums in numpy and against specutils, and what they keep apart."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import InverseVariance, StdDevUncertainty
from hypothesis import given
from hypothesis import strategies as st
from support import put

from hst_cloud.errors import HSTCloudWarning, MissingExtraError, QueryError
from hst_cloud.science.coadd import coadd
from hst_cloud.science.spectra import spectra

specutils = pytest.importorskip("specutils")

FLAM = u.erg / u.s / u.cm**2 / u.AA
META = {"TARGNAME": "BD+28D4211", "INSTRUME": "STIS", "OPT_ELEM": "E230M", "EXPTIME": 100.0, "heliocentric": True}


def spectrum(wavelength, flux, error=0.1, mask=None, unit=FLAM, **meta):
    """Make a spectrum as `spectra` gives it."""
    flux = np.broadcast_to(flux, len(wavelength)).astype(float)
    uncertainty = (
        None if error is None else StdDevUncertainty(np.broadcast_to(error, len(wavelength)).copy(), unit=unit)
    )
    return specutils.Spectrum(
        flux=flux * unit, spectral_axis=wavelength * u.AA, uncertainty=uncertainty, mask=mask, meta=META | meta
    )


def edges_of(middles):
    """Return the edges of pixels, halfway between them."""
    between = (middles[1:] + middles[:-1]) / 2
    return np.concatenate([[2 * middles[0] - between[0]], between, [2 * middles[-1] - between[-1]]])


def directly(several, edges, weights_of):
    """Return flux and error, pixel by pixel and overlap by overlap."""
    flux, error = np.full(len(edges) - 1, np.nan), np.full(len(edges) - 1, np.nan)
    for new in range(len(edges) - 1):
        sums = np.zeros(3)
        for one in several:
            own = edges_of(one.spectral_axis.value)
            width = np.diff(own)
            shared = np.clip(np.minimum(own[1:], edges[new + 1]) - np.maximum(own[:-1], edges[new]), 0, None)
            good = np.ones(len(width), bool) if one.mask is None else ~one.mask
            if np.sum(shared * good) < 0.5 * (edges[new + 1] - edges[new]):
                continue
            weight = weights_of(one) * good
            sums += np.sum(shared * weight), np.sum(shared * weight * one.flux.value), 0
            sums[2] += np.sum(shared * width * (weight * one.uncertainty.array) ** 2)
        if sums[0] > 0:
            flux[new], error[new] = sums[1] / sums[0], np.sqrt(sums[2]) / sums[0]
    return flux, error


@pytest.mark.parametrize("weights", ["exposure", "inverse variance"])
def test_a_sum_is_what_numpy_says(weights):
    """Overlapping orders with masked pixels, errors and exposure times of their own: as the direct sum has it."""
    rng = np.random.default_rng(3)
    several = []
    for start, step, seconds in ((2000.0, 0.05, 100.0), (2002.013, 0.06, 300.0), (2004.5, 0.055, 50.0)):
        wavelength = start + step * np.arange(80)
        several.append(
            spectrum(
                wavelength, rng.normal(5, 1, 80), rng.uniform(0.1, 1, 80), mask=rng.random(80) < 0.1, EXPTIME=seconds
            )
        )
    weights_of = (lambda s: s.meta["EXPTIME"]) if weights == "exposure" else (lambda s: s.uncertainty.array**-2)
    (made,) = coadd(several, weights=weights)
    edges = edges_of(made.spectral_axis.value)
    flux, error = directly(several, edges, weights_of)
    # The grid's own edges are not quite halfway between middles where the width of pixels changes.
    assert (np.isnan(flux) == made.mask).mean() > 0.97
    both = ~made.mask & ~np.isnan(flux)
    assert np.median(np.abs(made.flux.value - flux)[both]) < 1e-9
    grid = np.arange(2000.2, 2008.0, 0.13)
    (given_grid,) = coadd(several, weights=weights, grid=grid * u.AA)
    flux, error = directly(several, edges_of(grid), weights_of)
    assert (np.isnan(flux) == given_grid.mask).all()
    both = ~given_grid.mask
    assert given_grid.flux.value[both] == pytest.approx(flux[both], rel=1e-9)
    assert given_grid.uncertainty.array[both] == pytest.approx(error[both], rel=1e-9)


def test_one_spectrum_stays_what_it_is():
    """A spectrum alone keeps its pixels, be they uneven or falling in wavelength, and loses masked ones."""
    wavelength = 1300 * 1.0001 ** np.arange(50)
    mask = np.arange(50) == 7
    flux, error = np.sin(np.arange(50.0)), np.linspace(0.1, 0.2, 50)
    (made,) = coadd(spectrum(wavelength, flux, error, mask=mask))
    assert made.spectral_axis.value == pytest.approx(wavelength, abs=1e-3)
    assert np.diff(edges_of(wavelength)) == pytest.approx(np.diff(edges_of(made.spectral_axis.value)), rel=1e-3)
    assert made.mask.tolist() == mask.tolist()
    assert made.flux.value[~mask] == pytest.approx(flux[~mask], rel=1e-9)
    assert made.uncertainty.array[~mask] == pytest.approx(error[~mask], rel=1e-9)
    assert np.isnan(made.flux.value[7])
    (falling,) = coadd(spectrum(wavelength[::-1], flux[::-1], error[::-1], mask=mask[::-1]))
    assert falling.flux.value[~mask] == pytest.approx(flux[~mask], rel=1e-9)


@given(
    steps=st.lists(st.floats(0.01, 0.2), min_size=5, max_size=40),
    fluxes=st.lists(st.floats(-1, 10), min_size=40, max_size=40),
    pixel=st.floats(0.003, 0.5),
)
def test_flux_is_conserved_on_any_grid(steps, fluxes, pixel):
    """The integral over pixels of any width is that of the spectrum between their ends."""
    wavelength = 1200 + np.cumsum(steps)
    flux = np.array(fluxes[: len(steps)])
    own = edges_of(wavelength)
    grid = np.arange(own[0] + pixel / 2, own[-1] - pixel, pixel)
    if len(grid) < 2:
        return
    (made,) = coadd(spectrum(wavelength, flux), grid=grid * u.AA)
    edges = edges_of(grid)
    shared = np.clip(np.minimum(own[1:], edges[-1]) - np.maximum(own[:-1], edges[0]), 0, None)
    assert np.sum(made.flux.value * np.diff(edges)) == pytest.approx(np.sum(shared * flux), abs=1e-9)


def test_resampling_agrees_with_specutils():
    """On any grid inside, flux is that of specutils' FluxConservingResampler."""
    from specutils.manipulation import FluxConservingResampler

    rng = np.random.default_rng(5)
    one = spectrum(1500 + 0.01 * np.arange(200), rng.normal(3, 1, 200))
    grid = np.arange(1500.1, 1501.8, 0.0237) * u.AA
    theirs = FluxConservingResampler()(one, grid)
    (ours,) = coadd(one, grid=grid)
    assert ours.flux.value == pytest.approx(theirs.flux.value, rel=1e-6)


def test_pixels_are_as_wide_as_the_widest_there():
    """Where a fine and a coarse spectrum overlap pixels are coarse, and fine where there is none but the fine one."""
    fine, coarse = spectrum(1300 + 0.01 * np.arange(300), 1.0), spectrum(1302 + 0.05 * np.arange(60), 1.0)
    (made,) = coadd([fine, coarse])
    wavelength = made.spectral_axis.value
    width = np.diff(wavelength)
    assert width[wavelength[:-1] < 1301.9] == pytest.approx(0.01, rel=0.05)
    assert width[wavelength[:-1] > 1302.1] == pytest.approx(0.05, rel=0.05)
    assert made.flux.value[~made.mask] == pytest.approx(1.0)


def test_what_lies_between_segments_is_masked():
    """Between two segments there is no flux, and no number that could be taken for one."""
    (made,) = coadd([spectrum(1300 + 0.1 * np.arange(20), 1.0), spectrum(1310 + 0.1 * np.arange(20), 2.0)])
    between = (made.spectral_axis.value > 1302.1) & (made.spectral_axis.value < 1309.8)
    assert between.any()
    assert made.mask[between].all()
    assert np.isnan(made.flux.value[between]).all()
    assert (made.meta["exposure"][between] == 0).all()


def test_targets_gratings_and_frames_are_kept_apart():
    """Each target and grating has its own sum, and so have heliocentric wavelengths; `by` says otherwise."""
    wavelength = 2000 + 0.1 * np.arange(20)
    several = [
        spectrum(wavelength, 1.0),
        spectrum(wavelength, 2.0, OPT_ELEM="E230H"),
        spectrum(wavelength, 3.0, TARGNAME="G191B2B"),
        spectrum(wavelength, 4.0, heliocentric=False),
        spectrum(wavelength, 5.0),
    ]
    made = coadd(several)
    assert isinstance(made, specutils.SpectrumList)
    assert [one.flux.value[5] for one in made] == pytest.approx([3.0, 2.0, 3.0, 4.0])
    assert [one.meta["OPT_ELEM"] for one in made] == ["E230M", "E230H", "E230M", "E230M"]
    assert len(coadd(several, by=["OPT_ELEM"])) == 3
    assert "TARGNAME" not in coadd(several, by=["OPT_ELEM"])[0].meta


def test_the_sum_tells_what_it_is_made_of():
    """Inputs, weights, grid and exposure are told; seconds add up where spectra overlap."""
    several = [spectrum(2000 + 0.1 * np.arange(20), 1.0, file=f"{n}_x1d.fits", order=n) for n in (1, 2)]
    (made,) = coadd(several)
    assert [one["file"] for one in made.meta["inputs"]] == ["1_x1d.fits", "2_x1d.fits"]
    assert made.meta["weights"] == "exposure time"
    assert made.meta["exposure"].to_value(u.s) == pytest.approx(200.0)
    assert made.uncertainty.array == pytest.approx(0.1 / np.sqrt(2))


def test_photons_that_may_count_twice_are_warned_of():
    """A sum of exposures beside exposures of the same target and grating is suspicious."""
    wavelength = 1300 + 0.1 * np.arange(20)
    several = [spectrum(wavelength, 1.0, file=f"lzdm01{name}.fits") for name in ("010_x1dsum", "e1q_x1d")]
    with pytest.warns(HSTCloudWarning, match=r"lzdm01010_x1dsum\.fits may hold the exposures"):
        coadd(several)


def test_faint_pixels_that_count_more_bias_a_mean():
    """Weights of errors that follow the counts give less flux than there is; exposure times do not."""
    rng = np.random.default_rng(1)
    wavelength = 1300 + 0.01 * np.arange(500)
    several = []
    for _ in range(20):
        counts = rng.poisson(9.0, 500)
        several.append(spectrum(wavelength, counts, np.sqrt(np.maximum(counts, 1))))
    (plain,), (inverse,) = coadd(several), coadd(several, weights="inverse variance")
    assert np.mean(plain.flux.value) == pytest.approx(9.0, rel=0.02)
    assert np.mean(inverse.flux.value) < 8.3


def test_units_and_kinds_of_errors_are_converted():
    """Nanometers, milli-units and inverse variances are what they are."""
    wavelength = 1300 + 0.1 * np.arange(20)
    first = spectrum(wavelength, 2.0, 0.2)
    second = specutils.Spectrum(
        flux=np.full(20, 4000.0) * FLAM / 1000, spectral_axis=wavelength / 10 * u.nm, meta=META,
        uncertainty=InverseVariance(np.full(20, 25e-6), unit=(FLAM / 1000) ** -2),
    )  # fmt: skip
    (made,) = coadd([first, second])
    assert made.flux.unit == FLAM
    assert made.flux.value == pytest.approx(3.0)
    assert made.uncertainty.array == pytest.approx(np.full(20, np.hypot(0.2, 0.2) / 2))


def test_without_errors_there_is_none():
    """One input without errors makes a sum without; weights cannot be made of them."""
    wavelength = 1300 + 0.1 * np.arange(20)
    pair = [spectrum(wavelength, 1.0, file="a_x1d.fits"), spectrum(wavelength, 1.0, None, file="b_x1d.fits")]
    assert coadd(pair)[0].uncertainty is None
    with pytest.raises(QueryError, match=r"b_x1d\.fits has no errors, of which weights could be made"):
        coadd(pair, weights="inverse variance")


@pytest.mark.parametrize(
    ("several", "arguments", "text"),
    [
        ([], {}, "there is no spectrum to co-add"),
        ([{}], {"weights": "best"}, "weights='best': expected"),
        ([{"EXPTIME": None, "file": "a"}], {}, "a has EXPTIME = None: expected seconds"),
        ([{}, {"unit": u.ct}], {}, "has flux in ct"),
        ([{}], {"grid": [3, 2, 1] * u.AA}, "does not rise throughout"),
        ([{}], {"grid": "3 Angstrom"}, "grid='3 Angstrom' has no wavelengths: expected a Quantity"),
        ([{}], {"grid": [1, 2, 3] * u.kg}, r"grid=<Quantity \[1., 2., 3.\] kg> has no wavelengths"),
        ([{"wavelength": np.array([1.0])}], {}, "a spectrum of 1 pixels does not tell how wide they are"),
    ],
)
def test_what_makes_no_sense_is_refused(several, arguments, text):
    """What cannot be combined is an error that says what it is."""
    made = [spectrum(**{"wavelength": 1300 + 0.1 * np.arange(20), "flux": 1.0} | one) for one in several]
    with pytest.raises(QueryError, match=text):
        coadd(made, **arguments)


def test_products_are_no_spectra():
    """Files were given that are to be read first: it was an AttributeError of a row."""
    with pytest.raises(QueryError, match=r"a str is no spectrum: expected what hst_cloud\.spectra returns"):
        coadd(["lzdm01e1q_x1d.fits"])


def test_without_specutils_the_error_names_the_extra(monkeypatch):
    """Who lacks specutils is told what to install."""
    monkeypatch.setitem(sys.modules, "specutils", None)
    with pytest.raises(MissingExtraError, match=r"co-adding needs specutils.*hst-cloud\[spectra\]"):
        coadd([])


def test_orders_of_a_real_echelle_are_one_spectrum(shared_data, tmp_path):
    """40 orders of a white dwarf make one spectrum that agrees with each of them where it is alone and good."""
    name = "odbue5030_x1d.fits"
    put(tmp_path, name, (shared_data / "fits/hst/stis" / name).read_bytes())
    orders = spectra([name], store=tmp_path)
    (made,) = coadd(orders)
    assert made.meta["TARGNAME"] == "BD+28D4211"
    assert len(made.meta["inputs"]) == 40
    edges = edges_of(made.spectral_axis.value)
    flux, _ = directly(orders, edges[5000:5300], lambda s: s.meta["EXPTIME"])
    both = ~made.mask[5000:5299] & ~np.isnan(flux)
    assert np.median(np.abs(made.flux.value[5000:5299][both] / flux[both] - 1)) < 1e-3
    with fits.open(shared_data / "fits/hst/stis" / name) as hdul:
        row = hdul[1].data[20]
    inside = slice(100, 900)
    integral = np.trapezoid(row["FLUX"][inside], row["WAVELENGTH"][inside])
    low, high = row["WAVELENGTH"][100], row["WAVELENGTH"][899]
    chosen = (made.spectral_axis.value >= low) & (made.spectral_axis.value <= high)
    assert np.trapezoid(made.flux.value[chosen], made.spectral_axis.value[chosen]) == pytest.approx(integral, rel=0.01)
