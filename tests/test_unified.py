"""astropy's own read methods, with the archive behind them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import QTable, Table

import hst_cloud as hst
from hst_cloud.errors import QueryError
from hst_cloud.testing import LocalArchive, make_demo_archive

FLC, X1D = "jzdm01aaq_flc.fits", "lzdm01aaq_x1d.fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("archive"), scale=64, instruments=["ACS", "COS"])


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as archive:
        yield archive


@pytest.fixture
def x1d(folder):
    return next(path.name for path in sorted(folder.rglob("*_x1d.fits")))


@pytest.mark.parametrize(
    "like", [f"hst://{FLC}", FLC, f"hst://hst/public/jzdm/jzdm01aaq/{FLC}", f"hst://jzdm01aaq/{FLC}"]
)
def test_an_image_is_the_whole_chip(archive, folder, like):
    """With its errors, flags, unit and place, as a cutout has them."""
    image = CCDData.read(like, format="hst_cloud", hdu=("SCI", 2))
    with fits.open(next(folder.rglob(FLC))) as local:
        assert np.array_equal(image.data, local["SCI", 2].data)
        assert np.array_equal(image.uncertainty.array, local["ERR", 2].data)
        assert np.array_equal(image.flags, local["DQ", 2].data)
        assert image.unit == u.electron
        assert image.wcs.pixel_shape == image.data.shape[::-1]


def test_a_product_needs_no_format(archive, x1d):
    """The class says which archive it is of; a text must name the format, as it may be that of a local file."""
    assert CCDData.read(hst.Product(filename=FLC, key=f"hst/public/jzdm/jzdm01aaq/{FLC}")).shape == (32, 64)
    row = hst.resolve(x1d)[0]
    product = hst.Product(filename=x1d, key=row["key"])
    assert Table.read(product).colnames == hst.table(x1d).colnames


def test_a_table_is_that_of_the_verb(archive, x1d):
    """With units; columns and rows may be chosen."""
    found = QTable.read(f"hst://{x1d}", format="hst_cloud", columns=["WAVELENGTH"], rows=slice(1))
    assert type(found) is QTable
    assert found.colnames == ["WAVELENGTH"]
    assert found["WAVELENGTH"].unit == u.AA
    assert isinstance(Table.read(x1d, format="hst_cloud"), Table)


def test_spectra_are_those_of_the_verb(archive, x1d):
    """The reader is found though specutils was not there when it was registered."""
    specutils = pytest.importorskip("specutils")
    found = specutils.SpectrumList.read(f"hst://{x1d}", format="hst_cloud")
    assert type(found) is specutils.SpectrumList
    expected = hst.spectra(x1d)
    assert [len(one.flux) for one in found] == [len(one.flux) for one in expected]
    assert u.allclose(found[0].flux, expected[0].flux, equal_nan=True)


def test_what_the_file_has_not_is_said_so(archive):
    """As the verbs say it."""
    with pytest.raises(QueryError, match="it holds PRIMARY,1"):
        CCDData.read(FLC, format="hst_cloud", hdu="NONE")


def test_other_files_are_read_as_before(tmp_path):
    """What astropy reads by itself is not touched."""
    Table({"a": [1]}).write(tmp_path / "a.ecsv")
    assert Table.read(tmp_path / "a.ecsv")["a"][0] == 1
    CCDData(np.ones((2, 2)), unit="adu").write(tmp_path / "a.fits")
    assert CCDData.read(tmp_path / "a.fits").unit == u.adu


def test_the_import_pays_little_for_it():
    """Registering takes milliseconds of the processor, and imports nothing."""
    code = (
        "import time, hst_cloud; from hst_cloud.unified import register; t = time.process_time(); register(); "
        "import sys; print(time.process_time() - t, 'specutils' in sys.modules, 'fsspec' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120).stdout
    seconds, specutils, fsspec = said.split()
    assert float(seconds) < 0.5
    assert (specutils, fsspec) == ("False", "False")
