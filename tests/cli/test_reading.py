"""The commands that read what lies in products: keywords, cutouts and tables, and the files that they write."""

from __future__ import annotations

import json
import os
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from astropy.wcs import WCS
from commandline import run, shell
from support import put

import hst_cloud as hst
from hst_cloud.cli.files import made
from hst_cloud.testing import LocalArchive, make_demo_archive

FLC = "jzdm01aaq_flc.fits"
DRC = "jzdm01011_drc.fits"
EVENTS = "lzdm01e1q_corrtag_a.fits"
CENTER = "202.47 47.2"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("archive"), scale=32, instruments=["ACS", "COS", "FGS"])


@pytest.fixture
def archive(folder, tmp_path, monkeypatch):
    """Serve the archive, and work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    with LocalArchive(folder) as running:
        yield running


# --- Headers ---------------------------------------------------------------------------------------------------------


def test_keywords_are_columns(archive):
    """Each product has its row, in the order given, with the values that the file has."""
    found = run("headers", FLC, DRC, "-k", "EXPTIME", "-k", "SCI,1.PHOTFLAM", "--keyword", "sci,2.EXTVER")
    assert (found.code, found.err) == (0, "")
    local = [fits.open(next(archive.folder.rglob(name))) for name in (FLC, DRC)]
    for row, hdul in zip(found.rows, local, strict=True):
        assert row["EXPTIME"] == hdul[0].header["EXPTIME"]
        assert row["SCI,1.PHOTFLAM"] == hdul["SCI", 1].header["PHOTFLAM"]
        hdul.close()
    assert [row["sci,2.EXTVER"] for row in found.rows] == [2, None]


def test_the_product_list_of_a_pipe_becomes_a_table_of_keywords(archive):
    """Three processes; a hyphen stands for standard input, as nothing does."""
    for end in ("", " -"):
        done = shell(
            "hst-cloud search 'M 51' --instrument ACS/WFC | hst-cloud products --suffix flc "
            f"| hst-cloud headers -k DATE-OBS --format csv{end}",
            archive,
        )
        assert done.stdout.splitlines()[:2] == ["productFilename,DATE-OBS", f"{FLC},2024-01-01"]
        assert done.stdout.splitlines()[-1] == "0 0 0"
        assert done.stderr == ""


def test_all_keywords_of_an_hdu(archive):
    """They are those that astropy reads, commentary aside."""
    row = run("headers", FLC, "--all", "--hdu", "SCI,2").rows[0]
    with fits.open(next(archive.folder.rglob(FLC))) as hdul:
        header = hdul["SCI", 2].header
        assert {k: v for k, v in row.items() if k in {"CRVAL1", "CCDCHIP", "BUNIT"}} == {
            k: header[k] for k in ("CRVAL1", "CCDCHIP", "BUNIT")
        }
        assert set(header) - {""} <= set(row)


@pytest.mark.parametrize(("on_error", "rows", "code"), [("mask", 2, 4), ("skip", 1, 4), ("raise", 0, 1)])
def test_a_product_that_is_not_there(archive, on_error, rows, code):
    """It is named on standard error, and the exit code tells; the row is as it was asked for."""
    found = run("headers", FLC, "jzdm01zzq_flc.fits", "-k", "EXPTIME", "--on-error", on_error)
    assert found.code == code
    assert len(found.rows) == rows
    assert found.err.count("\n") == 1
    assert "jzdm01zzq_flc.fits" in found.err


def test_none_of_the_products_is_there(archive):
    """Nothing was done: that is an error."""
    found = run("headers", "jzdm01zzq_flc.fits", "-k", "EXPTIME", "--on-error", "skip")
    assert (found.code, found.out) == (1, "")


def test_a_keyword_that_no_product_has_is_named(archive):
    """It is masked, as everywhere, but most often it is misspelled."""
    found = run("headers", FLC, DRC, "-k", "EXPTIM", "-k", "EXPTIME", "-k", "SCI,2.CCDCHIP")
    assert found.code == 0
    assert found.err == "hst-cloud: no product that was read has a value of EXPTIM: headers --all shows what there is\n"
    assert run("headers", FLC, "-k", "SCI,1.*", "-k", "*").err == ""
    assert "has a value" not in run("headers", "jzdm01zzq_flc.fits", "-k", "EXPTIME").err


def test_headers_for_a_person(archive):
    """The keywords that were asked for are the columns that are shown."""
    found = run("headers", FLC, "-k", "EXPTIME", "-k", "FILTER2", "--format", "table")
    assert found.out.splitlines()[0].split() == ["productFilename", "EXPTIME", "FILTER2"]


# --- Cutouts ---------------------------------------------------------------------------------------------------------


def written(found):
    return [row["path"] for row in found.rows]


def test_a_cutout_is_a_file_that_astropy_reads(archive, tmp_path):
    """Of a drizzled image: pixels, mask, unit and solution are those of the library's cutout."""
    found = run("cutout", DRC, "--center", CENTER, "--size", "3 arcsec", "-o", "m51.fits")
    assert (found.code, found.err) == (0, "")
    assert written(found) == ["m51.fits"]
    expected = hst.cutout(DRC, CENTER, "3 arcsec")
    read = CCDData.read(tmp_path / "m51.fits")
    assert np.array_equal(read.data, expected.data, equal_nan=True)
    assert np.array_equal(read.mask, expected.mask)
    assert read.unit == expected.unit
    assert read.wcs.pixel_to_world(1, 2).separation(expected.wcs.pixel_to_world(1, 2)) < 1e-6 * u.arcsec
    assert read.meta["S3KEY"] == found.rows[0]["key"]
    with fits.open(tmp_path / "m51.fits") as hdul:
        assert np.array_equal(hdul["WHT"].data, expected.weight)


@pytest.mark.parametrize("hdu", ["SCI,1", "SCI,2", "4"])
def test_a_cutout_keeps_its_distortions(archive, tmp_path, hdu):
    """The tables are in the file: its solution is the cutout's own, within a millionth of a pixel."""
    run("cutout", FLC, "--pixel", "60,30", "--size", "40", "--hdu", hdu, "-o", "cut.fits")
    expected = hst.cutout(FLC, (60, 30), 40, hdu=int(hdu) if hdu.isdigit() else hdu)
    with fits.open(tmp_path / "cut.fits") as hdul:
        hdul.verify("exception")
        solution = WCS(hdul[0].header, hdul)
        assert solution.cpdis1 is not None
        assert solution.det2im1 is not None
        places = np.array([[0.0, 0.0], [10.0, 3.5], [39.0, 39.0]])
        apart = solution.all_pix2world(places, 0) - expected.wcs.all_pix2world(places, 0)
        assert np.abs(apart).max() < 1e-6 * 0.05 / 3600
        assert np.array_equal(hdul[0].data, expected.data)
        if expected.uncertainty is not None:
            assert np.array_equal(hdul["UNCERT"].data, expected.uncertainty.array)
            assert np.array_equal(hdul["DQ"].data, expected.flags)
            assert np.array_equal(hdul["MASK"].data.astype(bool), expected.mask)


def test_cutouts_of_many_products_go_into_a_folder(archive, tmp_path):
    """Each has a name that tells the product, the image and the place; the folder is made."""
    names = f"{FLC}\njzdm01acq_flc.fits\n{DRC}"
    found = run(
        "cutout", "-", "--center", CENTER, "--center", "202.471 47.2", "--size", "20,30", "-o", "a/b", stdin=names
    )
    assert found.code == 0
    assert sorted(written(found)) == sorted(f"a/b/{path.name}" for path in (tmp_path / "a/b").iterdir())
    assert len(found.rows) == 6
    for row in found.rows:
        with fits.open(row["path"]) as hdul:
            assert hdul[0].data.shape == (20, 30)
            name, _, ver = row["hdu"].lower().partition(",")
            stem = row["productFilename"].removesuffix(".fits")
            x, y = hdul[0].header["CUTX0"], hdul[0].header["CUTY0"]
            assert row["path"] == f"a/b/{stem}_{name}{ver}_x{x}_y{y}.fits"


def test_cutouts_are_read_in_portions(archive, monkeypatch):
    """More products than are held at once: the same files."""
    from hst_cloud.cli import reading

    monkeypatch.setattr(reading, "AT_ONCE", 2)
    found = run("cutout", FLC, "jzdm01acq_flc.fits", DRC, "--center", CENTER, "--size", "9")
    assert [row["productFilename"] for row in found.rows] == [FLC, "jzdm01acq_flc.fits", DRC]


def test_no_file_is_replaced_unasked(archive, tmp_path):
    """Neither a file that was named nor one in a folder; nothing is read for the former."""
    arguments = ["cutout", FLC, "--pixel", "60,30", "--size", "9"]
    assert run(*arguments, "-o", "cut.fits").code == 0
    before = (tmp_path / "cut.fits").read_bytes()
    archive.forget()
    again = run(*arguments, "-o", "cut.fits")
    assert (again.code, again.out) == (1, "")
    assert again.err == "hst-cloud: cut.fits is there already; give another name, or --overwrite\n"
    assert archive.requests == []
    assert (tmp_path / "cut.fits").read_bytes() == before
    assert run("cutout", FLC, "--pixel", "50,30", "--size", "9", "-o", "cut.fits", "--overwrite").code == 0
    assert (tmp_path / "cut.fits").read_bytes() != before
    assert run(*arguments, "-o", "many").code == 0
    some = run("cutout", FLC, DRC, "--pixel", "60,30", "--size", "9", "-o", "many")
    assert some.code == 4
    assert [row["productFilename"] for row in some.rows] == [DRC]
    assert "is there already" in some.err


def test_some_cutouts_cannot_be_had(archive):
    """Those that can are written; the others are named, and the exit code tells."""
    found = run("cutout", FLC, "jzdm01zzq_flc.fits", "--pixel", "60,30", "--size", "9")
    assert found.code == 4
    assert [row["productFilename"] for row in found.rows] == [FLC]
    assert "jzdm01zzq_flc.fits" in found.err
    none = run("cutout", FLC, "--pixel", "9000,30", "--size", "9")
    assert (none.code, none.out) == (1, "")


# --- Tables ----------------------------------------------------------------------------------------------------------


def test_rows_and_columns_of_a_table(archive):
    """They are those of the file, and no others are read."""
    found = run("table", EVENTS, "--hdu", "EVENTS", "--columns", "time,WAVELENGTH", "--rows", "10:14")
    assert (found.code, found.err) == (0, "")
    with fits.open(next(archive.folder.rglob(EVENTS))) as hdul:
        data = hdul["EVENTS"].data
        expected = [{"TIME": float(r["TIME"]), "WAVELENGTH": float(r["WAVELENGTH"])} for r in data[10:14]]
    assert found.rows == expected
    assert len(run("table", EVENTS, "--hdu", "1", "--rows", "-3:").rows) == 3


def test_arrays_travel_as_lists(archive):
    """A spectrum's row has its wavelengths, in JSON lines and in CSV; what is not finite is null."""
    expected = hst.table("lzdm01010_x1dsum.fits", columns=["SEGMENT", "FLUX"])
    rows = run("table", "lzdm01010_x1dsum.fits", "--columns", "SEGMENT,FLUX").rows
    assert [row["SEGMENT"] for row in rows] == list(expected["SEGMENT"])
    assert np.array_equal([row["FLUX"] for row in rows], expected["FLUX"].value)
    text = run("table", "lzdm01010_x1dsum.fits", "--columns", "SEGMENT,FLUX", "--format", "csv").out
    assert json.loads(Table.read(text, format="ascii.csv")["FLUX"][0]) == rows[0]["FLUX"]


def test_a_table_for_a_person(archive):
    """Arrays are shown by their ends; a number of rows is what it is everywhere."""
    found = run("table", "lzdm01010_x1dsum.fits", "--format", "table", "--columns", "SEGMENT,WAVELENGTH")
    assert "] (2,896)" in found.out
    assert found.out.splitlines()[-1] == "2 rows"


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".parquet", ".csv", ".jsonl"])
def test_a_table_becomes_a_file(archive, tmp_path, ending):
    """In the format that the name ends with, with units where the format has them."""
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
        pytest.importorskip("pandas")
    path = tmp_path / f"events{ending}"
    arguments = [
        "table",
        EVENTS,
        "--hdu",
        "EVENTS",
        "--columns",
        "TIME,WAVELENGTH,DQ",
        "--rows",
        ":50",
        "-o",
        path.name,
    ]
    found = run(*arguments)
    assert (found.code, found.err) == (0, "")
    told = {name: found.rows[0][name] for name in ("path", "productFilename", "hdu", "rows", "columns")}
    assert told == {"path": path.name, "productFilename": EVENTS, "hdu": "EVENTS,1", "rows": 50, "columns": 3}
    expected = hst.table(EVENTS, "EVENTS", columns=["TIME", "WAVELENGTH", "DQ"], rows=slice(50))
    if ending == ".jsonl":
        read = Table([json.loads(line) for line in path.read_text().splitlines()])
    else:
        kind = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}.get(ending, ending[1:])
        read = QTable.read(path, format=kind)
    for name in expected.colnames:
        assert np.array_equal(np.asarray(read[name]), np.asarray(expected[name])), name
    if ending in {".ecsv", ".fits", ".parquet"}:
        assert read["WAVELENGTH"].unit == expected["WAVELENGTH"].unit == u.AA
    assert run(*arguments).code == 1
    assert run(*arguments, "--overwrite").code == 0
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ending", [".ecsv", ".fits", ".jsonl"])
def test_counts_of_the_guidance_sensors(archive, ending):
    """They lie in an image, become a table, and what is fill is null."""
    name = "fzdm0101m_a1f.fits"
    expected = hst.table(name, rows=slice(0, 50))
    rows = run("table", name, "--rows", "0:50").rows
    assert rows[0].keys() == set(expected.colnames)
    masks = [getattr(row, "mask", False) for row in expected["PMTXA"]]
    assert [row["PMTXA"] for row in rows] == [
        None if mask else value
        for value, mask in zip(np.asarray(expected["PMTXA"].unmasked).tolist(), masks, strict=True)
    ]
    found = run("table", name, "--rows", "0:50", "-o", f"counts{ending}")
    assert (found.code, found.err) == (0, "")
    assert found.rows[0]["hdu"] == "0"


def test_a_column_with_nulls(tmp_path, monkeypatch):
    """TNULL is null for a program, and masked in a file."""
    monkeypatch.chdir(tmp_path)
    name = "lzdm09aaq_x1d.fits"
    column = fits.Column("N", "I", null=-1, unit="s", array=np.array([1, -1, 3]))
    put(tmp_path / "archive", name, fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]))
    with LocalArchive(tmp_path / "archive"):
        assert [row["N"] for row in run("table", name).rows] == [1, None, 3]
        assert run("table", name, "-o", "t.ecsv").code == 0
    assert Table.read("t.ecsv")["N"].mask.tolist() == [False, True, False]


# --- What goes wrong -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["headers", FLC], "give keywords, such as -k EXPTIME"),
        (["headers", FLC, "-k", "SCI,x.EXPTIME"], "names no HDU"),
        (["headers", FLC, "-k", "EXPTIME", "--hdu", "SCI,x"], "names no HDU"),
        (["cutout", FLC, "--size", "9"], "give --center or --pixel"),
        (["cutout", FLC, "--size", "9", "--center", CENTER, "--pixel", "1,2"], "give --center or --pixel: not both"),
        (["cutout", FLC, "--size", "9", "--pixel", "1"], "'1' is no pixel"),
        (["cutout", FLC, "--size", "9 apples", "--pixel", "1,2"], "9 apples"),
        (["cutout", FLC, DRC, "--size", "9", "--pixel", "1,2", "-o", "a.fits"], "2 cutouts do not fit into one file"),
        (["cutout", FLC, "--pixel", "1,2"], "Missing option '--size'"),
        (["table", EVENTS, "--rows", "1:x"], "'1:x' names no rows"),
        (["table", EVENTS, "--columns", "NONE"], "no column NONE"),
        (["table", EVENTS, "--hdu", "NONE"], "has no table 'NONE'"),
        (["table", EVENTS, "-o", "events.txt"], "expected one of .ecsv, .fits"),
        (["search", "M 51", "--rows", "1:2"], "expected the number of rows to show"),
        (["search", "M 51", "--rows", "-1"], "'-1' names no rows"),
    ],
)
def test_wrong_usage_is_one_line(archive, tmp_path, arguments, says):
    """What makes no sense is told in one line, and no file is left."""
    found = run(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith("hst-cloud: ")
    assert found.err.count("\n") == 1
    assert says in found.err
    assert [path.name for path in tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", [["headers", "-k", "EXPTIME"], ["cutout", "--size", "9", "--pixel", "1,2"]])
def test_nothing_comes_in(archive, command):
    """That has its own exit code."""
    assert run(*command, stdin="").code == 3


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path, monkeypatch):
    """What fails half way leaves nothing, and nothing is replaced by it."""
    path = tmp_path / "out.fits"

    def half(content, *, overwrite, error=None):
        with made(path, overwrite=overwrite) as part:
            part.write_text(content)
            assert not path.exists() or path.read_text() != content
            if error:
                raise error

    with pytest.raises(ZeroDivisionError):
        half("half", overwrite=False, error=ZeroDivisionError())
    assert list(tmp_path.iterdir()) == []
    half("one", overwrite=False)
    with pytest.raises(ZeroDivisionError):
        half("half", overwrite=True, error=ZeroDivisionError())
    assert path.read_text() == "one"
    half("two", overwrite=True)
    assert path.read_text() == "two"
    with pytest.raises(FileExistsError, match="is there already"):
        half("three", overwrite=False)

    def without_links(*_):
        raise PermissionError

    path.unlink()
    monkeypatch.setattr(os, "link", without_links)
    half("four", overwrite=False)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.fits", "four")]


def test_somebody_else_writes_the_file_meanwhile(tmp_path):
    """The one who was faster keeps the name."""
    path = tmp_path / "out.fits"

    def slow():
        with made(path, overwrite=False) as part:
            part.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(FileExistsError, match="is there already"):
        slow()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("out.fits", "theirs")]


def test_files_are_written_without_warnings(archive):
    """Nothing that HST's headers have makes astropy warn of the file that is written."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in (FLC, DRC):
            assert run("cutout", name, "--pixel", "20,20", "--size", "9").err == ""
        assert "warning" not in run("table", EVENTS, "--rows", ":5", "-o", "t.fits").err
