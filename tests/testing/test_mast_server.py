"""The embedded archive as MAST, judged by astroquery and by MAST's recorded answers."""

import json
import urllib.error
import urllib.parse
import urllib.request
import warnings
from contextlib import contextmanager

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from hst_cloud.testing import LocalArchive
from hst_cloud.testing.columns import DISTANCE, OBSERVATION, PRODUCT
from hst_cloud.testing.facts import _KEYWORDS as KEYWORDS
from hst_cloud.testing.facts import _intent
from hst_cloud.testing.headers import scan

M51 = SkyCoord("202.47 47.195", unit="deg")
ACS = {
    "INSTRUME": "ACS",
    "DETECTOR": "WFC",
    "TARGNAME": "M51",
    "RA_TARG": 202.47,
    "DEC_TARG": 47.195,
    "PROPOSID": 10452,
    "EXPSTART": 53390.5,
    "EXPEND": 53390.6,
    "EXPTIME": 680.0,
    "FILTER1": "CLEAR1L",
    "FILTER2": "F814W",
    "OBSTYPE": "IMAGING",
    "IMAGETYP": "EXT",
    "PR_INV_L": "Beckwith",
    "PR_INV_F": "Steven",
    "MTFLAG": "",
    "CAL_VER": "10.3.5",
}
SKY = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "CRVAL1": 202.47,
    "CRVAL2": 47.195,
    "CRPIX1": 32.0,
    "CRPIX2": 32.0,
    "CD1_1": -1e-4,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 1e-4,
}
COS = {
    "INSTRUME": "COS",
    "DETECTOR": "FUV",
    "TARGNAME": "NGC-4151",
    "RA_TARG": 182.6357,
    "DEC_TARG": 39.4057,
    "PROPOSID": 11692,
    "OPT_ELEM": "G130M",
    "OBSTYPE": "SPECTROSCOPIC",
    "EXPTYPE": "EXTERNAL/SCI",
    "MINWAVE": 1134.0,
    "MAXWAVE": 1430.0,
    "TARDESCR": "GALAXY;SEYFERT",
}
DARK = ACS | {"TARGNAME": "DARK", "IMAGETYP": "DARK", "FILTER2": "CLEAR2L", "EXPSTART": 53000.0, "EXPEND": 53000.1}
EXTRA = {
    "observations": [
        {"obs_id": "jbqf03010", "obs_title": "A spiral", "target_classification": "GALAXY;SPIRAL"},
        {
            "obs_id": "hst_10452_03_acs_wfc_f814w_jbqf03",
            "project": "HAP",
            "instrument_name": "ACS/WFC",
            "filters": "F814W",
            "s_ra": 202.47,
            "s_dec": 47.19,
            "t_min": 53390.5,
            "t_max": 53390.6,
        },
        {
            "obs_id": "jexc01010",
            "instrument_name": "ACS/WFC",
            "filters": "F606W",
            "dataRights": "EXCLUSIVE_ACCESS",
            "s_ra": 10.0,
            "s_dec": -80.0,
        },
    ],
    "products": [
        {
            "dataURI": "mast:HST/product/hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits",
            "obs_id": "hst_10452_03_acs_wfc_f814w_jbqf03",
            "parents": ["jbqf03010"],
            "size": 5,
        },
        {
            "dataURI": "mast:HLA/url/cgi-bin/getdata.cgi?dataset=hst_10452_03_acs_wfc_f814w_drz.fits",
            "parents": ["jbqf03010"],
        },
        {"dataURI": "mast:HST/product/jexc01010_drc.fits"},
        {"dataURI": "mast:HST/product/jbqf03gjq_crj.fits"},
    ],
    "names": {"The Whirlpool": [202.47, 47.195]},
}


def _write(folder, name, primary, first=None, *, obs_id=None, table=None):
    obs_id = obs_id or name[:9]
    path = folder / "hst" / "public" / obs_id[:4] / obs_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    second = (
        fits.BinTableHDU(table, name="ASN")
        if table is not None
        else fits.ImageHDU(np.zeros((64, 64), "f4"), name="SCI")
    )
    second.header.update(first or {})
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(primary)), second]).writeto(path)
    return path


def _text(folder, name, obs_id=None):
    obs_id = obs_id or name[:9]
    path = folder / "hst" / "public" / obs_id[:4] / obs_id / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("text")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return an association of two exposures, a spectrum, a dark, a damaged file, and rows from catalog.json."""
    root = tmp_path_factory.mktemp("archive")
    members = Table({"MEMNAME": ["JBQF03GJQ", "JBQF03GMQ", "JBQF03010"], "MEMTYPE": ["EXP-DTH", "EXP-DTH", "PROD-DTH"]})
    _write(root, "jbqf03010_asn.fits", ACS | {"ASN_ID": "JBQF03010"}, table=members.as_array())
    _write(
        root,
        "jbqf03010_drc.fits",
        ACS | {"EXPTIME": 1360.0, "EXPEND": 53390.7},
        SKY | {"PHOTPLAM": 8045.5, "PHOTBW": 653.1},
    )
    _text(root, "jbqf03010_drc.jpg")
    _text(root, "jbqf03010_drc_thumb.jpg")
    for name in ("jbqf03gjq", "jbqf03gmq"):
        for suffix in ("raw", "flc", "spt"):
            _write(root, f"{name}_{suffix}.fits", ACS | {"ASN_ID": "JBQF03010"}, SKY)
    _write(root, "jbqf03gjj_jit.fits", {"INSTRUME": "FGS"}, obs_id="jbqf03gjq")
    _write(root, "ld9m10ujq_x1d.fits", COS, {"EXPSTART": 55000.0, "EXPEND": 55000.02, "EXPTIME": 1881.152})
    _write(root, "jdrk01abq_raw.fits", DARK)
    _text(root, "ibad01abq_flt.fits")
    (root / "catalog.json").write_text(json.dumps(EXTRA))
    (root / "mast-only").mkdir()
    (root / "mast-only" / "hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits").write_bytes(b"HAP!!")
    return root


@pytest.fixture(scope="module")
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


@contextmanager
def _astroquery(archive):
    """Yield an ObservationsClass of its own, pointed to the archive as the library points one."""
    from astroquery.mast import Observations
    from astroquery.mast.discovery_portal import PortalAPI

    PortalAPI._column_configs.clear()
    client = type(Observations)()
    client._portal_api_connection.MAST_REQUEST_URL = f"{archive.endpoint}/api/v0/invoke"
    client._portal_api_connection.COLUMNS_CONFIG_URL = f"{archive.endpoint}/portal/Mashup/Mashup.asmx/columnsconfig"
    yield client
    client._portal_api_connection._session.close()
    PortalAPI._column_configs.clear()


@pytest.fixture
def observations(archive):
    with _astroquery(archive) as client:
        yield client


def _ask(archive, path, body=None, **headers):
    data = body.encode() if isinstance(body, str) else body
    request = urllib.request.Request(archive.endpoint + path, data=data, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def _invoke(archive, service, params, **more):
    request = {"service": service, "params": params, "format": "json", "pagesize": 50000, "page": 1} | more
    return json.loads(_ask(archive, "/api/v0/invoke", "request=" + urllib.parse.quote(json.dumps(request)))[2])


def _names(rows):
    return [row["obs_id"] for row in rows]


# -- astroquery


def test_astroquery_finds_by_criteria(observations):
    """Values, lists, wildcards, ranges and types arrive as they leave the headers."""
    table = observations.query_criteria(
        obs_collection="HST", instrument_name="ACS/*", calib_level=["2", "3"], t_min=[53390, 53391]
    )
    assert list(table["obs_id"]) == ["hst_10452_03_acs_wfc_f814w_jbqf03", "jbqf03010", "jbqf03gjq", "jbqf03gmq"]
    row = table[table["obs_id"] == "jbqf03010"][0]
    assert (row["instrument_name"], row["filters"], row["proposal_id"]) == ("ACS/WFC", "F814W", "10452")
    assert (row["t_exptime"], row["t_max"], row["calib_level"]) == (1360.0, 53390.7, 3)
    assert (row["dataURL"], row["jpegURL"]) == (
        "mast:HST/product/jbqf03010_drc.fits",
        "mast:HST/product/jbqf03010_drc.jpg",
    )
    assert row["em_min"] == pytest.approx((8045.5 - 653.1) / 10)
    assert row["wavelength_region"] == "OPTICAL"
    assert row["proposal_pi"] == "Beckwith, Steven"
    assert set(table.colnames) == set(OBSERVATION)


def test_astroquery_finds_by_position(observations):
    """Cone and criteria with a position give the distance in arcsec, the nearest first."""
    near = observations.query_region(M51, radius=1 * u.arcmin)
    assert near["distance"][0] == pytest.approx(0, abs=1e-6)
    assert list(near["distance"]) == sorted(near["distance"])
    far = near[near["obs_id"] == "hst_10452_03_acs_wfc_f814w_jbqf03"]["distance"][0]
    assert far == pytest.approx(0.005 * 3600)
    table = observations.query_criteria(coordinates=M51, radius=0.001 * u.deg, filters="F814W", project="HST")
    assert list(table["obs_id"]) == ["jbqf03010", "jbqf03gjq", "jbqf03gmq"]


def test_astroquery_counts(observations):
    """Counts are those of the rows."""
    assert observations.query_criteria_count(instrument_name="ACS/WFC") == 6
    assert observations.query_region_count(M51, radius=0.001 * u.deg) == 4  # the dark points there too


def test_astroquery_pages_a_large_result(folder):
    """A result larger than the largest page comes in pages, which astroquery puts together."""
    with LocalArchive(folder, largest_page=2) as archive, _astroquery(archive) as client:
        assert len(client.query_criteria(obs_collection="HST")) == 8
        assert len([request for request in archive.requests if request.path == "/api/v0/invoke"]) == 4
        page = client.query_criteria(obs_collection="HST", page=3, pagesize=2)
        assert list(page["obs_id"]) == ["jbqf03gmq", "jdrk01abq"]


def test_astroquery_waits_for_a_query_that_executes(folder):
    """EXECUTING is answered as often as wanted, for each query anew, and then the result."""
    with LocalArchive(folder, executing=2) as archive, _astroquery(archive) as client:
        for _ in range(2):
            archive.forget()
            assert len(client.query_criteria(instrument_name="COS/FUV")) == 1
            bodies = [request.body for request in archive.requests if request.path == "/api/v0/invoke"]
            assert len(bodies) == 3
            assert len(set(bodies)) == 1


def test_astroquery_lists_products(observations):
    """An association lists its own files, its members' and those beside, each with its own observation."""
    found = observations.query_criteria(obs_id=["jbqf03010", "ld9m10ujq"])
    table = observations.get_product_list(found)
    assert set(table.colnames) == set(PRODUCT)
    owners = {row["productFilename"]: row["obs_id"] for row in table}
    assert owners == {
        "jbqf03010_asn.fits": "jbqf03010",
        "jbqf03010_drc.fits": "jbqf03010",
        "jbqf03010_drc.jpg": "jbqf03010",
        "jbqf03010_drc_thumb.jpg": "jbqf03010",
        **{f"{name}_{suffix}.fits": name for name in ("jbqf03gjq", "jbqf03gmq") for suffix in ("raw", "flc", "spt")},
        "jbqf03gjj_jit.fits": "jbqf03gjq",
        "jbqf03gjq_crj.fits": "jbqf03gjq",
        "hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits": "hst_10452_03_acs_wfc_f814w_jbqf03",
        "hst_10452_03_acs_wfc_f814w_drz.fits": "hst_10452_03_acs_wfc_f814w",
        "ld9m10ujq_x1d.fits": "ld9m10ujq",
    }
    parents = dict(zip(found["obs_id"], found["obsid"], strict=True))
    association = table[table["parent_obsid"] == parents["jbqf03010"]]
    assert len(association) == len(table) - 1
    of = {row["productFilename"]: row for row in table}
    flc = of["jbqf03gjq_flc.fits"]
    assert (flc["type"], flc["productType"], flc["productSubGroupDescription"]) == ("S", "SCIENCE", "FLC")
    assert (flc["project"], flc["calib_level"], flc["prvversion"]) == ("CALACS", 2, "CALACS 10.3.5")
    assert flc["obsID"] != flc["parent_obsid"]
    assert of["jbqf03010_drc.fits"]["type"] == "C"
    assert of["jbqf03010_drc.fits"]["productGroupDescription"] == "Minimum Recommended Products"
    assert of["jbqf03gjj_jit.fits"]["productType"] == "AUXILIARY"
    assert of["jbqf03010_drc.jpg"]["productType"] == "PREVIEW"
    assert of["jbqf03010_drc_thumb.jpg"]["productType"] == "THUMBNAIL"
    hap = of["hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits"]
    assert (hap["project"], hap["type"], hap["size"]) == ("HAP-SVM", "D", 5)
    assert of["hst_10452_03_acs_wfc_f814w_drz.fits"]["obs_collection"] == "HLA"


def test_astroquery_reads_the_metadata_and_the_missions(observations):
    """The column configuration describes every column, and Mast.Caom.All tells whose data there are."""
    described = observations.get_metadata("observations")
    assert set(described["Column Name"]) == {*OBSERVATION, DISTANCE.name}
    assert set(observations.get_metadata("products")["Column Name"]) == set(PRODUCT)
    assert observations.list_missions() == ["HST"]
    config = observations._portal_api_connection._column_configs["Mast.Caom.All"]
    assert (config["filters"]["separator"], config["t_min"]["vot.datatype"]) == (";", "double")
    assert (config["calib_level"]["vot.datatype"], config["distance"]["vot.unit"]) == ("int", "arcsec")


def test_astroquery_is_told_of_mistakes(archive, observations):
    """An unknown column is refused by astroquery from the configuration, and by the archive itself."""
    from astroquery.exceptions import InvalidQueryError

    with pytest.raises(InvalidQueryError, match="Did you mean 'filters'"):
        observations.query_criteria(filter="F814W")
    answer = _invoke(
        archive, "Mast.Caom.Filtered", {"columns": "*", "filters": [{"paramName": "filter", "values": ["x"]}]}
    )
    assert (answer["status"], answer["msg"]) == ("ERROR", "Invalid column name 'filter'.")


def test_astroquery_searches_the_missions_api(archive):
    """The Missions search finds by condition and position, pages, and lists products under their association."""
    from astroquery.mast import MastMissions, conf

    client = type(MastMissions)()
    client._service_api_connection.REQUEST_URL = f"{archive.endpoint}/search/hst/api/v0.1/"
    with conf.set_temp("server", archive.endpoint):
        table = client.query_criteria(sci_instrume="ACS,COS", sci_aec="S", sort_by="sci_data_set_name")
        assert list(table["sci_data_set_name"]) == ["HST_10452_03_ACS_WFC_F814W_JBQF03", "JBQF03010", "JBQF03GJQ", "JBQF03GMQ", "JEXC01010", "LD9M10UJQ"]  # fmt: skip
        near = client.query_region(M51, radius=1 * u.arcsec, select_cols=["sci_pep_id"])
        assert set(near["sci_pep_id"]) == {10452}
        assert max(near["ang_sep"]) < 1e-6
        products = client.get_product_list("JBQF03010")
        assert "JBQF03010/jbqf03gjq_flc.fits" in list(products["uri"])
    client._service_api_connection._session.close()


# -- answers in MAST's shape


@pytest.mark.parametrize(
    ("recorded", "service", "params"),
    [
        ("astroquery/caom.json", "Mast.Caom.Cone", {"ra": 202.47, "dec": 47.195, "radius": 0.1}),
        ("notebooks/tike_phat_observations.json", "Mast.Caom.Filtered", {"columns": "*", "filters": []}),
        ("notebooks/tike_phat_products_head_tail.json", "Mast.Caom.Products", {"obsid": "all"}),
        ("astroquery/countsResp.json", "Mast.Caom.Filtered", {"columns": "COUNT_BIG(*)", "filters": []}),
    ],
)
def test_answers_have_the_shape_of_recorded_ones(shared_data, archive, recorded, service, params):
    """Keys, fields with their types, and the paging block are those of MAST's answers."""
    theirs = json.loads((shared_data / "mast" / recorded).read_text())
    if params.get("obsid") == "all":
        rows = _invoke(archive, "Mast.Caom.Filtered", {"columns": "*", "filters": []})["data"]
        params = {"obsid": ",".join(row["obsid"] for row in rows)}
    ours = _invoke(archive, service, params)
    assert set(ours) == set(theirs) - {"_note"}
    assert set(ours["paging"]) == set(theirs["paging"])
    types = {f["name"]: f["type"] for f in ours["fields"]}
    for field in theirs["fields"]:
        assert types[field["name"]] == field["type"], field["name"]
    assert set(theirs["data"][0]) <= set(ours["data"][0])
    if recorded.startswith("notebooks"):  # the columns of today
        assert list(types) == [f["name"] for f in theirs["fields"]] + ["_selected_"]


def test_columns_are_configured_as_mast_configures_them(shared_data, archive):
    """What astroquery reads of a column (type, separator, units) is the same in MAST's own configuration."""
    theirs = json.loads((shared_data / "mast/astroquery/columnsconfig.json").read_text())
    ours = json.loads(_ask(archive, "/portal/Mashup/Mashup.asmx/columnsconfig", "colConfigId=Mast.Caom.Cone")[2])
    assert set(ours) >= {name for name, column in theirs.items() if not column.get("remove")}
    continuous = {"double", "float"}
    for name in set(ours) & set(theirs):
        types = [column.get("vot.datatype", column.get("type")) for column in (ours[name], theirs[name])]
        assert (types[0] in continuous) == (types[1] in continuous), name
        for key in ("separator", "unit", "vot.unit"):
            assert ours[name].get(key) == theirs[name].get(key), (name, key)


def test_unknown_services_and_pages_are_errors_or_empty(archive):
    """A service that is not there is MAST's ERROR; a page behind the last has no rows."""
    assert "not found" in _invoke(archive, "Mast.Nothing", {})["msg"]
    assert _invoke(archive, "Mast.Caom.Filtered", {"filters": []}, page=9)["data"] == []
    assert _invoke(archive, "Mast.Caom.Filtered", {"filters": []}, page=0)["status"] == "ERROR"
    assert _invoke(archive, "Mast.Caom.Cone", {"ra": "x"})["status"] == "ERROR"
    assert _invoke(archive, "Mast.Caom.Products", {"obsid": ""})["data"] == []
    assert json.loads(_ask(archive, "/api/v0/invoke?request=nonsense")[2])["status"] == "ERROR"
    assert _ask(archive, "/api/v0/nothing")[0] == 404


def test_a_page_has_no_more_rows_than_asked_for(archive):
    """Without a page size there are 1,000 rows; the paging block counts rows and pages."""
    answer = _invoke(archive, "Mast.Caom.Filtered", {"columns": "obs_id,s_ra", "filters": []}, pagesize=3, page=2)
    assert answer["paging"] == {
        "page": 2,
        "pageSize": 3,
        "pagesFiltered": 3,
        "rows": 3,
        "rowsFiltered": 8,
        "rowsTotal": 8,
    }
    assert set(answer["data"][0]) == {"obs_id", "s_ra", "_selected_"}


# -- the catalog


def test_the_catalog_tells_what_the_headers_tell(archive):
    """Intent, footprint, kind of data and times come from the headers; a damaged file has a row by its name."""
    rows = {row["obs_id"]: row for row in _invoke(archive, "Mast.Caom.Filtered", {"filters": []})["data"]}
    assert rows["jdrk01abq"]["intentType"] == "calibration"
    assert rows["jbqf03gjq"]["intentType"] == "science"
    spectrum = rows["ld9m10ujq"]
    assert (spectrum["dataproduct_type"], spectrum["t_exptime"], spectrum["em_max"]) == ("spectrum", 1881.152, 143.0)
    assert spectrum["s_region"].startswith("CIRCLE ICRS 182.6357")
    corners = np.array(rows["jbqf03gjq"]["s_region"].split()[1:], float).reshape(-1, 2)
    assert corners.shape == (5, 2)
    center = SkyCoord(*corners[:4].mean(axis=0), unit="deg")
    assert center.separation(SkyCoord(202.47, 47.195, unit="deg")) < 1 * u.arcsec
    assert rows["ibad01abq"]["instrument_name"] == "WFC3"
    assert rows["jbqf03010"]["obs_title"] == "A spiral"
    assert len({row["obsid"] for row in rows.values()}) == len(rows)
    assert all(row["obsid"].isdecimal() for row in rows.values())


@pytest.mark.parametrize(
    ("header", "intent"),
    [
        ({"TARGNAME": "M51", "IMAGETYP": "EXT"}, "science"),
        ({"TARGNAME": "PARALLEL", "IMAGETYP": "DARK"}, "calibration"),
        ({"TARGNAME": "TUNGSTEN", "IMAGETYP": "EXT"}, "calibration"),
        ({"TARGNAME": "NGC-4151", "EXPTYPE": "WAVECAL"}, "calibration"),
        ({"TARGNAME": "NGC-4151", "EXPTYPE": "EXTERNAL/SCI"}, "science"),
        ({}, "science"),
    ],
)
def test_intent_is_told_by_lamps_and_targets(header, intent):
    """An exposure of a lamp, or with the shutter closed, serves calibration."""
    assert _intent([header]) == intent


def test_the_catalog_follows_the_folder(tmp_path):
    """Files that come and go are in the next answer, and the numbers of observations stay."""
    _write(tmp_path, "jbqf03gjq_flc.fits", ACS, SKY)
    with LocalArchive(tmp_path) as archive:
        before = _invoke(archive, "Mast.Caom.Filtered", {"filters": []})["data"]
        _write(tmp_path, "jaaa03gjq_flc.fits", ACS | {"TARGNAME": "NEW"}, SKY)
        after = _invoke(archive, "Mast.Caom.Filtered", {"filters": []})["data"]
        assert _names(after) == ["jaaa03gjq", "jbqf03gjq"]
        assert after[1] == before[0]
        (tmp_path / "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits").unlink()
        assert _names(_invoke(archive, "Mast.Caom.Filtered", {"filters": []})["data"]) == ["jaaa03gjq"]


@pytest.mark.parametrize("name", ["M51", "m 51", "Messier 051", "M-51", "THE WHIRLPOOL", "ngc4151"])
def test_names_are_found_however_they_are_written(archive, name):
    """Targets in headers, names in catalog.json and a few well-known ones are found without regard to spelling."""
    answer = _invoke(archive, "Mast.Name.Lookup", {"input": name, "format": "json"})
    assert answer["status"] == ""
    (found,) = answer["resolvedCoordinate"]
    assert found["ra"] == pytest.approx(182.6357 if "4151" in name else 202.47)
    assert found["searchString"] == name.lower()


def test_unknown_names_are_an_empty_answer(archive):
    """As MAST does: no coordinates, no error."""
    assert _invoke(archive, "Mast.Name.Lookup", {"input": "nowhere"}) == {"resolvedCoordinate": [], "status": ""}


def test_path_lookup_tells_the_key_of_what_is_known(archive):
    """Known files have their path, HAP one that the bucket lacks, all else null and 404."""
    product = "mast:HST/product/"
    wanted = {
        "jbqf03gjq_flc.fits": "/hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits",
        "jbqf03gjj_jit.fits": "/hst/public/jbqf/jbqf03gjq/jbqf03gjj_jit.fits",
        "jexc01010_drc.fits": "/hst/public/jexc/jexc01010/jexc01010_drc.fits",
        "hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits": "/hap/public/jbqf/hst_10452_03/hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits",
        "nothing.fits": None,
    }
    query = urllib.parse.urlencode({"uri": [product + name for name in wanted], "use_cloud_path": True}, doseq=True)
    answer = json.loads(_ask(archive, f"/api/v0.1/path_lookup/?{query}")[2])
    assert answer == {
        product + name: {"status_code": 200 if path else 404, "path": path} for name, path in wanted.items()
    }


def test_files_are_downloaded_by_uri_and_by_range(archive, folder):
    """Download and retrieve_product serve files of the bucket and of mast-only, by range too; others are refused."""
    path = folder / "hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits"
    download = "/api/v0.1/Download/file?uri=mast:HST/product/"
    status, headers, body = _ask(archive, download + path.name)
    assert (status, body, headers["Accept-Ranges"]) == (200, path.read_bytes(), "bytes")
    status, headers, body = _ask(archive, download + path.name, Range="bytes=0-9")
    assert (status, body, headers["Content-Range"]) == (206, b"SIMPLE  = ", f"bytes 0-9/{path.stat().st_size}")
    assert _ask(archive, download + "hst_10452_03_acs_wfc_f814w_jbqf03_drc.fits")[2] == b"HAP!!"
    assert _ask(archive, download + "jexc01010_drc.fits")[0] == 401
    assert _ask(archive, download + "jbqf03gjq_crj.fits")[0] == 404
    assert _ask(archive, download + "nothing.fits")[0] == 404
    for name in ("JBQF03010%2F" + path.name, path.name):
        assert _ask(archive, f"/search/hst/api/v0.1/retrieve_product?product_name={name}")[2] == path.read_bytes()


@pytest.mark.parametrize(
    ("conditions", "found"),
    [
        ([{"sci_instrume": "cos"}], {"LD9M10UJQ"}),
        ([{"sci_pep_id": "11000..12000"}], {"LD9M10UJQ"}),
        ([{"sci_pep_id": ">10452"}], {"LD9M10UJQ"}),
        ([{"sci_targname": "NGC*"}], {"LD9M10UJQ"}),
        ([{"sci_targname": "!M51,!DARK"}, {"sci_aec": "S"}, {"sci_instrume": "!ACS,!WFC3"}], {"LD9M10UJQ"}),
        ([{"sci_start_time": "< 2004-06-01"}], {"JDRK01ABQ"}),
        ([{"sci_status": "PROPRIETARY"}], {"JEXC01010"}),
    ],
)
def test_conditions_of_the_missions_search(archive, conditions, found):
    """Comma lists, negation, comparison, ranges, wildcards and dates select as documented."""
    body = json.dumps({"conditions": conditions, "select_cols": ["sci_data_set_name"]})
    answer = json.loads(_ask(archive, "/search/hst/api/v0.1/search", body)[2])
    assert {row["sci_data_set_name"] for row in answer["results"]} == found
    assert answer["totalResults"] == len(found)


def test_the_missions_search_refuses_what_it_cannot_do(archive):
    """Unknown columns, units and radii are status 400 with the reason."""
    for given_ in ({"conditions": [{"nothing": "1"}]}, {"target": ["1 1"], "radius_units": "feet"}, {"target": ["1 1"], "radius": 99}, []):  # fmt: skip
        assert _ask(archive, "/search/hst/api/v0.1/search", json.dumps(given_))[0] == 400
    assert _ask(archive, "/search/hst/api/v0.1/post_list_products", "{}")[0] == 400


@pytest.mark.parametrize(
    "text",
    ["[]", '{"observations": {}}', '{"observations": [{}]}', '{"products": [{"dataURI": "x", "sise": 1}]}', "{"],
)
def test_a_wrong_catalog_file_is_told(tmp_path, text):
    """What cannot be understood in catalog.json is named with the file, not passed over."""
    (tmp_path / "catalog.json").write_text(text)
    with LocalArchive(tmp_path) as archive:
        status, _, body = _ask(archive, "/api/v0.1/path_lookup/?uri=x")
    assert status == 500
    assert b"catalog.json" in body


def test_keywords_are_read_as_astropy_reads_them(shared_data):
    """Every value of real files of all instruments is astropy's: texts, numbers, logicals, with comments and without."""
    compared = 0
    for path in sorted((shared_data / "fits" / "hst").rglob("*.fits")):
        with warnings.catch_warnings(action="ignore"), fits.open(path) as hdus:
            for header, hdu in zip(scan(path, KEYWORDS, most=2), hdus, strict=False):
                for keyword in KEYWORDS:
                    theirs = hdu.header.get(keyword)
                    theirs = theirs.strip() if isinstance(theirs, str) else theirs
                    if isinstance(theirs, str | float | int) and theirs != "" and len(str(theirs)) < 60:
                        assert header[keyword] == theirs, (path, keyword)
                        assert type(header[keyword]) is type(theirs)
                        compared += 1
                    elif not isinstance(theirs, str) or not theirs:
                        assert keyword not in header, (path, keyword)
    assert compared > 500
