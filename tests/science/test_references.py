"""Reference files of exposures: the list against astropy's reading of the headers, and what is staged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from astropy.io import fits
from astropy.table import Table
from commandline import run

import hst_cloud as hst
from hst_cloud.archive.references import DRIZZLE
from hst_cloud.errors import HSTCloudWarning, QueryError
from hst_cloud.testing import LocalArchive, make_demo_archive

EXPOSURES = ["jzdm01aaq_flc.fits", "jzdm01acq_flc.fits"]
SEVERAL = [*EXPOSURES, "izdm02a1q_flt.fits", "lzdm01e1q_corrtag_a.fits", "ozdm01020_flt.fits"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("demo"), scale=64)


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


def local(folder, name):
    return fits.getheader(folder / "hst" / "public" / name[:4] / name[:9] / name)


def test_every_file_that_headers_name_has_one_row(folder, archive):
    """As astropy reads them: each file once, with all keywords and products that name it; N/A has no row."""
    named = {}
    for name in SEVERAL:
        for keyword, value in local(folder, name).items():
            if isinstance(value, str) and "ref$" in value and keyword != "HISTORY":
                named.setdefault(value, (set(), set()))
                named[value][0].add(keyword)
                named[value][1].add(name)
    table = hst.references(SEVERAL)
    found = {
        f"{row['variable']}${row['productFilename']}": (set(row["keyword"].split(";")), set(row["named_by"].split(";")))
        for row in table
    }
    assert found == named
    assert len(table) == len(found) > 60
    assert table.meta["requests"] == len(SEVERAL)
    row = table[0]
    assert row["https_url"] == f"{archive.endpoint}/stpubdata/{row['key']}"
    assert row["crds_url"] == f"{archive.endpoint}/unchecked_get/references/hst/{row['productFilename']}"
    checked = hst.resolve(table, verify=True)
    assert set(checked["status"]) == {"in_cloud"}


def test_what_drizzling_needs_or_some_keywords_can_be_chosen(folder, archive):
    """The former in the order of the documentation; a keyword that a file has not is no error."""
    table = hst.references(EXPOSURES, "drizzle")
    assert table["keyword"].tolist() == list(DRIZZLE)
    assert [f"jref${name}" for name in table["productFilename"]] == [local(folder, EXPOSURES[0])[k] for k in DRIZZLE]
    assert hst.references(EXPOSURES, ["DARKFILE", "NLINFILE"])["keyword"].tolist() == ["DARKFILE"]
    assert hst.references(EXPOSURES, "DARKFILE")["named_by"].tolist() == [";".join(EXPOSURES)]
    assert len(hst.references("jzdm01aaq_spt.fits")) == 0


@pytest.mark.parametrize("wrong", ["drizle", ["DARKFILE", "idctab"], "SCI,1.IDCTAB", []])
def test_a_typing_error_is_no_choice(wrong, archive):
    """Before anything is sent."""
    with pytest.raises(QueryError, match=r"expected 'all', 'drizzle'|keywords is empty"):
        hst.references(EXPOSURES, wrong)
    assert archive.requests == []


def test_exposures_are_staged_with_their_reference_files(folder, archive, tmp_path):
    """Flat, with references in folders by variable; the headers are those on the disk, so they cost no request."""
    done = hst.download(EXPOSURES, tmp_path, references="drizzle")
    names = [local(folder, EXPOSURES[0])[keyword].partition("$")[2] for keyword in DRIZZLE]
    assert done["path"].tolist() == [*EXPOSURES, *(f"references/jref/{name}" for name in names)]
    assert set(done["status"]) == {"downloaded"}
    assert done.meta["environment"] == {"jref": f"{tmp_path}/references/jref/"}
    assert done.meta["requests"] == len(archive.requests) == 2 * len(done)  # a byte each first, which tells the size
    for row in done:  # the way that programs find them: what the variable says, and the name behind it
        assert (tmp_path / row["path"]).read_bytes() == (folder / row["key"]).read_bytes()
    value = fits.getheader(tmp_path / EXPOSURES[1])["NPOLFILE"].replace("jref$", done.meta["environment"]["jref"])
    with fits.open(value) as hdul:
        assert [(hdu.name, hdu.ver) for hdu in hdul[1:]] == [("DX", 1), ("DY", 1), ("DX", 2), ("DY", 2)]
    again = hst.download(EXPOSURES, tmp_path, references="drizzle")
    assert (again.meta["requests"], set(again["status"])) == (0, {"present"})
    assert again.meta["environment"] == done.meta["environment"]
    whole = hst.download(tmp_path / "manifest.ecsv", tmp_path, references="drizzle")
    assert sorted(whole["path"]) == sorted(done["path"])


def test_instruments_have_folders_of_their_own(archive, tmp_path):
    """A variable for each instrument; nested, all lie where the bucket has them."""
    several = ["jzdm01aaq_flc.fits", "izdm02a1q_flt.fits"]
    done = hst.download(several, tmp_path / "flat", references=["IDCTAB"])
    assert done.meta["environment"] == {v: f"{tmp_path}/flat/references/{v}/" for v in ("jref", "iref")}
    done = hst.download(several, tmp_path / "nested", references="IDCTAB", layout="nested")
    assert done.meta["environment"] == dict.fromkeys(("jref", "iref"), f"{tmp_path}/nested/hst/public/references/")
    for value in done.meta["environment"].values():
        assert Path(value).is_dir()


def test_crds_is_asked_where_that_is_wanted(folder, archive, tmp_path):
    """By its own addresses, and for reference files alone."""
    done = hst.download(EXPOSURES[0], tmp_path, references="drizzle", source="crds")
    asked = {request.path for request in archive.requests}
    assert {path for path in asked if "references" in path} == {
        f"/unchecked_get/references/hst/{name.rpartition('/')[2]}" for name in done["path"][1:]
    }
    assert done.meta["references_from"] == f"{archive.endpoint}/unchecked_get/references/hst"
    with pytest.raises(QueryError, match="source='mast' is not known: expected 'bucket' or 'crds'"):
        hst.download(EXPOSURES, tmp_path, references="drizzle", source="mast")


def test_a_reference_file_that_the_bucket_lacks_is_told(folder, tmp_path, archive):
    """It has its row and its reason; the others are there, and the environment with them."""
    name = hst.references(EXPOSURES[0], "NPOLFILE")["productFilename"][0]
    lost = folder / "hst/public/references" / name
    content = lost.read_bytes()
    lost.unlink()
    try:
        with pytest.warns(HSTCloudWarning, match=f"1 of 4 products are not in .*\n{name}: missing"):
            done = hst.download(EXPOSURES[0], tmp_path, references="drizzle")
    finally:
        lost.write_bytes(content)
    assert done["status"].tolist() == ["downloaded"] * 3 + ["missing", "downloaded"]
    assert list(done.meta["environment"]) == ["jref"]


def test_the_command_says_what_to_export(archive, tmp_path):
    """Below a person's table; beside what a program reads."""
    line = f"export jref='{tmp_path}/a b/references/jref/'\n"
    staged = ("get", EXPOSURES[0], "-d", str(tmp_path / "a b"), "--references")
    code, out, err = run(*staged, "drizzle", "--format", "table")
    assert (code, err) == (0, "")
    assert out.endswith(f"\n{line}")
    code, out, err = run(*staged, "IDCTAB,MDRIZTAB", "--crds")
    assert (code, err) == (0, line)
    assert [json.loads(row)["status"] for row in out.splitlines()] == ["present"] * 3


def test_tables_are_written_and_read_again(archive, tmp_path):
    """The list of reference files is a table like any other."""
    table = hst.references(EXPOSURES, "drizzle")
    table.write(tmp_path / "references.ecsv")
    read = Table.read(tmp_path / "references.ecsv")
    assert hst.download(read, tmp_path / "refs")["path"].tolist() == [
        f"references/jref/{name}" for name in table["productFilename"]
    ]
