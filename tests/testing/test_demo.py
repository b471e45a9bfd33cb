"""The demonstration archive as a whole: where its files lie, what stands in its catalog, and how it is made."""

from __future__ import annotations

import hashlib
import json

import pytest
from astropy.io import fits

from hst_cloud.archive.names import is_rootname, key_of, parse_filename
from hst_cloud.errors import QueryError
from hst_cloud.testing.demo import make_demo_archive

SCALE = 64


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("demo"), scale=SCALE)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_file_lies_where_its_name_says(archive):
    """The path is the key of the name; jitter files of single exposures lie in the exposure's folder."""
    files = [path for path in archive.rglob("*.fits") if not {"mast-only", "references"} & set(path.parts)]
    assert len(files) > 80
    jitter = []
    for path in files:
        name = parse_filename(path.name)
        obs_id = path.parent.name
        assert is_rootname(name.rootname)
        assert is_rootname(obs_id)
        assert str(path.relative_to(archive)) == key_of(name, obs_id)
        if not name.folder:
            jitter.append(path.name)
        else:
            assert key_of(name) == key_of(name, obs_id)
    assert sorted(jitter) == ["jzdm02c1j_jif.fits", "jzdm02c1j_jit.fits"]


def test_every_file_opens_without_complaint(archive):
    """No file of the archive makes astropy warn, and each names itself."""
    for path in archive.rglob("*.fits"):
        assert path.stat().st_size % 2880 == 0
        with fits.open(path) as hdus:
            hdus.verify("exception")
            named = hdus[0].header["FILENAME"]
            assert named == path.name or "_cvt." in named
            if "ROOTNAME" in hdus[0].header and not path.name.endswith("x1dsum.fits"):
                assert path.name.startswith(hdus[0].header["ROOTNAME"].lower())


def test_each_instrument_has_something_to_see(archive):
    """The way from a target's name to the picture exists for each instrument."""
    suffixes = {}
    for path in archive.rglob("hst/public/**/*.fits"):
        suffixes.setdefault(path.name[0], set()).add(parse_filename(path.name).suffix)
    assert {"raw", "flt", "flc", "drz", "drc", "asn", "spt", "trl", "jit", "jif"} <= suffixes["j"]
    assert {"raw", "ima", "flt", "flc", "drz", "drc", "asn", "spt", "trl"} <= suffixes["i"]
    assert {"rawtag_a", "corrtag_a", "corrtag_b", "x1d", "x1dsum", "asn", "spt", "trl"} <= suffixes["l"]
    assert {"raw", "flt", "x1d", "sx1", "x2d", "asn", "spt", "trl"} <= suffixes["o"]
    assert {"a1f", "a2f", "a3f", "dmf"} <= suffixes["f"]


def test_members_of_associations_are_there(archive):
    """What an association of ACS, WFC3 or COS lists has a folder; headers and table agree."""
    for path in archive.rglob("*_asn.fits"):
        if path.name.startswith("o"):  # of STIS nothing but the association's files is kept
            continue
        with fits.open(path) as hdus:
            members = [row["MEMNAME"].lower() for row in hdus["ASN"].data if row["MEMTYPE"].startswith("EXP")]
        assert len(members) == 2
        for member in members:
            folder = archive / "hst" / "public" / member[:4] / member
            assert folder.is_dir()
            science = next(folder.glob("*_[fxr]*.fits"))
            assert fits.getval(science, "ASN_ID") == path.name[:9].upper()


def test_the_catalog_holds_what_the_bucket_does_not(archive):
    """A Hubble Advanced Product, a Legacy product and an exclusive one stand in the catalog with MAST's columns."""
    catalog = json.loads((archive / "catalog.json").read_text())
    added = [row for row in catalog["observations"] if "obsid" in row]
    assert sorted(row["dataRights"] for row in added) == ["EXCLUSIVE_ACCESS", "PUBLIC", "PUBLIC"]
    known = {row["obs_id"]: row["obsid"] for row in added}
    for product in catalog["products"]:
        assert known[product["obs_id"]] == product["obsID"]
        assert product["size"] > 0
        assert not (archive / key_of(parse_filename(product["productFilename"]), "")).is_file()
    hap = next(row for row in catalog["products"] if row["project"] == "HAP-SVM")
    assert (archive / "mast-only" / hap["productFilename"]).stat().st_size == hap["size"]
    assert set(catalog["names"]) >= {"M 51", "NGC 3603", "NGC 4151", "G191-B2B", "GJ 748"}


def test_the_server_accepts_the_catalog(archive):
    """The local archive reads folder and catalog: every observation has a number, every file a row."""
    from hst_cloud.testing.catalog import Catalog
    from hst_cloud.testing.files import Folder

    contents = Catalog(Folder(archive)).contents()
    rows = {row["obs_id"]: row for row in contents.observations}
    files = [path for path in archive.rglob("*.fits") if not {"mast-only", "references"} & set(path.parts)]
    assert {path.parent.name for path in files} <= set(rows)
    assert {f"mast:HST/product/{path.name}" for path in files} <= set(contents.uris)
    assert rows["jzdm01010"]["instrument_name"] == "ACS/WFC"
    assert rows["jzdm01010"]["filters"] == "F814W"
    assert rows["lzdm01010"]["dataproduct_type"] == "spectrum"
    assert rows["fzdm0101m"]["instrument_name"].startswith("FGS")
    assert rows["fzdm0101m"]["filters"] == "F583W"
    assert {row["dataRights"] for row in rows.values()} == {"PUBLIC", "EXCLUSIVE_ACCESS"}
    assert sorted(contents.members["jzdm01010"]) == ["jzdm01aaq", "jzdm01acq"]


def test_the_same_arguments_give_the_same_archive(archive, tmp_path):
    """Byte for byte, at another time and place."""
    again = make_demo_archive(tmp_path / "a" / "b", scale=SCALE)
    assert digests(again) == digests(archive)


def test_an_archive_that_is_there_is_left_alone(tmp_path):
    """A second call writes nothing; a missing or cut file makes it write again."""
    make_demo_archive(tmp_path, scale=SCALE, instruments=["FGS"])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make_demo_archive(tmp_path, scale=SCALE, instruments=["FGS"])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    victim = next(tmp_path.rglob("*_a2f.fits"))
    whole = victim.read_bytes()
    victim.write_bytes(whole[:2880])
    make_demo_archive(tmp_path, scale=SCALE, instruments=["FGS"])
    assert victim.read_bytes() == whole


def test_another_demonstration_replaces_the_former(tmp_path):
    """What the new one lacks is removed, what others have put there stays, and no part of a file is left behind."""
    make_demo_archive(tmp_path, scale=SCALE, instruments=["STIS", "FGS"])
    mine = tmp_path / "hst" / "public" / "ozdm" / "ozdm01010" / "notes.txt"
    mine.write_text("mine")
    make_demo_archive(tmp_path, scale=32, instruments="FGS")
    assert {path.name[0] for path in tmp_path.rglob("*.fits")} == {"f"}
    assert mine.read_text() == "mine"
    assert not list(tmp_path.rglob("*.part"))
    assert json.loads((tmp_path / "catalog.json").read_text())["demonstration"]["scale"] == 32


def test_somebody_elses_catalog_is_not_overwritten(tmp_path):
    """A folder with a catalog of its own is refused before anything is written."""
    (tmp_path / "catalog.json").write_text('{"observations": []}')
    with pytest.raises(FileExistsError, match="choose an empty folder"):
        make_demo_archive(tmp_path, scale=SCALE)
    assert [path.name for path in tmp_path.iterdir()] == ["catalog.json"]


@pytest.mark.parametrize("scale", [0, 65, 2.5, -1])
def test_scales_out_of_range_are_refused(tmp_path, scale):
    """The message says which are not."""
    with pytest.raises(QueryError, match="from 1, which is full size, to 64"):
        make_demo_archive(tmp_path, scale=scale)


def test_unknown_instruments_are_refused(tmp_path):
    """The message names those that there are."""
    with pytest.raises(QueryError, match="no demonstration of NICMOS: expected some of ACS, COS, STIS, WFC3, FGS"):
        make_demo_archive(tmp_path, instruments=["ACS", "NICMOS"])


def test_the_default_archive_is_small(tmp_path):
    """A few tens of megabytes at most, so that it can be made anywhere."""
    made = make_demo_archive(tmp_path)
    sizes = [path.stat().st_size for path in made.rglob("*") if path.is_file()]
    assert sum(sizes) < 30_000_000
