"""The grammar of names and the rule for keys, against keys that others have seen and against hostile text."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hst_cloud.archive.instruments import LETTERS
from hst_cloud.archive.names import (
    dataset_folder,
    is_rootname,
    key_of,
    key_of_s3_uri,
    parse_filename,
    parse_uri,
    visit_prefix,
)
from hst_cloud.errors import ProductNameError

LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"

# What a hostile server may send where a name is expected, to be mixed with what it should send.
HOSTILE = st.lists(
    st.sampled_from(
        [
            "..",
            "/",
            "\\",
            "%2e%2e",
            "%2F",
            "\x00",
            "\n",
            "\r",
            "\x1b[2J",
            " ",
            "~",
            ":",
            "?",
            "#",
            "*",
            "$(id)",
            "\u202e",
            "\uff0e",
            "\u2215",
            "\u212a",
            "\u0131",
            "\u0455",
            "\udc80",
            ".",
            "_",
            "mast:HST/product/",
            "mast:HLA/",
            "mast:",
            "s3://stpubdata/",
            "s3://other/",
            "hst/public/jbqf/jbqf03gjq/",
            "jbqf03gjq",
            "JBQF03GJQ",
            "_flc.fits",
            "hst_",
        ]
    )
    | st.text(max_size=4),
    max_size=8,
).map("".join)

KEY = re.compile(r"hst/public/([a-z0-9]{4})/(\1[a-z0-9]{5})/\1[a-z0-9]{5}[a-z0-9_]*(\.[a-z0-9]+)+")


def tried(function, *arguments):
    """Return what a function returns, and the message with which it refuses."""
    try:
        return function(*arguments), ""
    except ProductNameError as error:
        return None, str(error)


@st.composite
def rootnames(draw):
    """Make rootnames of exposures, associations, sub-products and jitter files of every instrument."""
    first = draw(st.sampled_from(sorted(LETTERS)))
    return first + draw(st.text(LOWER, min_size=7, max_size=7)) + draw(st.sampled_from("qrstmnop0123456789abcdejx"))


@st.composite
def filenames(draw):
    """Make file names of pipeline products."""
    suffix = draw(st.sampled_from(["flc", "corrtag_a", "flt_hlet", "log", "raw_thumb", "x1dsum4", ""]))
    extension = draw(st.sampled_from(["fits", "fits.gz", "txt", "jpg", "fits.fz"]))
    return f"{draw(rootnames())}{'_' * bool(suffix)}{suffix}.{extension}"


def known_keys(shared_data):
    """Return (dataURI, obs_id, key) of the keys that are really in the bucket."""
    with (shared_data / "keys" / "known_s3_keys.tsv").open() as lines:
        rows = [
            (row["dataURI"], row["obs_id"] or "", row["s3_key"] or "") for row in csv.DictReader(lines, delimiter="\t")
        ]
    return [row for row in rows if row[2].startswith("hst/public/")]


def test_every_known_key_follows_from_uri_and_obs_id(shared_data):
    """All keys that others have seen in the bucket come out of the rule."""
    rows = known_keys(shared_data)
    assert len(rows) > 30
    for uri, obs_id, key in rows:
        assert key_of(parse_uri(uri), obs_id) == key
        assert key_of(parse_uri(uri), obs_id.upper()) == key


def test_every_known_key_but_of_jitter_files_follows_from_the_name_alone(shared_data):
    """A jitter file's name does not tell its folder, all others do."""
    for uri, _, key in known_keys(shared_data):
        jitter = uri.endswith("u4ge0106j_jit.fits")
        assert key_of(parse_uri(uri)) == ("" if jitter else key)


@pytest.mark.parametrize(
    ("filename", "folder"),
    [
        ("jbqf03gjq_flc.fits", "jbqf03gjq"),
        ("j8ck01041_drz.fits", "j8ck01040"),  # a product within an association
        ("j8cb010b1_drz.fits", "j8cb010b0"),
        ("jbqf0301e_drz.fits", "jbqf03010"),
        ("u2n1010b_x_c0f.fits", ""),  # not nine characters before the first underscore
        ("u9o4050bb_drz.fits", "u9o4050bb"),  # WFPC2's associations of CADC end in b
        ("u9o405011_drz.fits", "u9o405010"),
        ("u9o40504m_c3m.fits", "u9o40504m"),
        ("ldfd01010_x1dsum4.fits", "ldfd01010"),
        ("f05i0201m_a1f.fits", "f05i0201m"),
        ("u4ge0106j_jit.fits", ""),
        ("z14z0104x_ocx.fits", ""),
        ("jbevetdqq_raw.jpg", "jbevetdqq"),
        ("idpya7i0q_flt_thumb.jpg", "idpya7i0q"),
        ("lbnm01020_log.txt", "lbnm01020"),
        ("jbqf03gjq.fits", "jbqf03gjq"),
        ("jbqf03gjq_flc.fits.gz", "jbqf03gjq"),
    ],
)
def test_the_folder_follows_from_the_name(filename, folder):
    """Exposures lie in their own folder, products of associations in the association's."""
    assert parse_filename(filename).folder == folder
    expected = f"hst/public/{folder[:4]}/{folder}/{filename}" if folder else ""
    assert key_of(parse_filename(filename)) == expected
    assert key_of(parse_filename(filename.upper())) == expected


@pytest.mark.parametrize(
    ("filename", "collection", "suffix"),
    [
        ("jbqf03gjq_flc.fits", "CAL", "flc"),
        ("ld9m10ujq_corrtag_a.fits", "CAL", "corrtag_a"),
        ("jbevetdqq_flt_hlet.fits", "CAL", "flt_hlet"),
        ("lbnm01020_log.txt", "CAL", "log"),
        ("jbqf03gjq.fits", "CAL", ""),
        ("hst_16912_02_acs_wfc_f606w_jety02_drc.fits", "HAP", "drc"),
        ("hst_16912_02_acs_wfc_f606w_jety02lx_flc.fits", "HAP", "flc"),
        ("hst_16912_02_acs_wfc_total_jety02_point-cat.ecsv", "HAP", "point-cat"),
        ("hst_skycell-p0797x14y06_acs_wfc_f606w_coarse-all_drc.fits", "HAP", "drc"),
        ("hst_16196_stis_sn2021yja_g430l_oehk_cspec.fits", "HAP", "cspec"),
        ("hst_12058_01_wfc3_uvis_f275w_01_drz.fits", "HLA", "drz"),
        ("hst_05773_02_wfpc2_f814w_pc_drz.jpg", "HLA", "drz"),
        ("hlsp_acsggct_hst_acs-wfc_ngc0104_r.rdviq.cal.adj.zpt.txt", "HLSP", "r"),
        ("does_not_exist.fits", "other", ""),
        ("qbqf03gjq_flc.fits", "other", ""),  # no instrument has that letter
        ("n43c05030-x_flt.fits", "other", ""),
    ],
)
def test_who_made_a_file_follows_from_its_name(filename, collection, suffix):
    """The pipelines, the Advanced Products, the Legacy Archive and science teams name files in ways of their own."""
    name = parse_filename(filename)
    assert (name.collection, name.suffix) == (collection, suffix)
    assert parse_filename(filename.upper()).collection == collection
    if collection != "CAL":
        assert (name.rootname, name.folder, key_of(name, "jbqf03gjq")) == ("", "", "")


def test_obs_id_tells_a_jitter_files_folder():
    """With the observation of its row a jitter file has a key; with its own name as such it has none."""
    name = parse_filename("u4ge0106j_jit.fits")
    assert key_of(name, "U4GE0106R") == "hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits"
    assert key_of(name, "u4ge0106j") == ""


def test_exposure_stays_in_its_own_folder_when_listed_under_its_association():
    """The Missions API lists members under the association: that is not where they lie."""
    assert key_of(parse_filename("jbevetdqq_flt.fits"), "jbevet010") == "hst/public/jbev/jbevetdqq/jbevetdqq_flt.fits"


def test_obs_id_of_a_sub_product_means_its_association():
    """MAST calls some data sets by the name of a product within the association."""
    key = "hst/public/j8ob/j8ob02010/j8ob02011_drz.fits"
    assert key_of(parse_filename("j8ob02011_drz.fits"), "J8OB02011") == key


@pytest.mark.parametrize(
    "obs_id", ["N43C05030", "../../etc", "i7k165", "i7k16544\u212a", "i7k16544n/..", "hst_16912_02"]
)
def test_reference_file_listed_with_an_observation_gets_no_key(obs_id):
    """Calibration files have names like exposures, but of no visit that lists them."""
    with pytest.raises(ProductNameError, match=r"i7k16544n_flt\.fits does not belong .* begins with 'i7k165'"):
        key_of(parse_filename("i7k16544n_flt.fits"), obs_id)


@pytest.mark.parametrize(
    ("uri", "filename", "collection"),
    [
        ("mast:HST/product/JBQF03GJQ_FLC.FITS", "jbqf03gjq_flc.fits", "CAL"),
        (
            "mast:HST/product/hst_16912_02_acs_wfc_f606w_jety02_drc.fits",
            "hst_16912_02_acs_wfc_f606w_jety02_drc.fits",
            "HAP",
        ),
        (
            "mast:HLA/url/cgi-bin/getdata.cgi?dataset=hst_12058_01_wfc3_uvis_f275w_01_drz.fits",
            "hst_12058_01_wfc3_uvis_f275w_01_drz.fits",
            "HLA",
        ),
        ("mast:HLA/url/cgi-bin/preview.cgi?dataset=hst_12058_01_wfc3_uvis_f275w_01", "", "HLA"),
        ("mast:HLA/url/cgi-bin/getdata.cgi?dataset=jbqf03gjq_flc.fits", "jbqf03gjq_flc.fits", "HLA"),
        (
            "mast:HLSP/acsggct/ngc0104/hlsp_acsggct_hst_acs-wfc_ngc0104_v2.fits",
            "hlsp_acsggct_hst_acs-wfc_ngc0104_v2.fits",
            "HLSP",
        ),
        ("mast:HLSP/team/jbqf03gjq_flc.fits", "jbqf03gjq_flc.fits", "HLSP"),
    ],
)
def test_uri_tells_name_and_maker(uri, filename, collection):
    """What lies outside HST/product is never a pipeline product, whatever its file is called."""
    name = parse_uri(uri)
    assert (name.filename, name.collection) == (filename, collection)
    assert bool(key_of(name)) == (collection == "CAL")


@pytest.mark.parametrize(
    "uri",
    [
        "mast:JWST/product/jw01345001001_02201_00001_nrca1_cal.fits",
        "mast:HST/jbqf03gjq_flc.fits",
        "mast:HST",
        "mast:",
        "http://mast.stsci.edu/jbqf03gjq_flc.fits",
        "MAST:HST/product/jbqf03gjq_flc.fits",
        "mast:HLSP/a/..",
        "mast:HLA/\x00",
        "mast:HST/product/../jbqf03gjq_flc.fits",
        "mast:HST/product//jbqf03gjq_flc.fits",
        "mast:HLA/\uff0e",
        "mast:HLSP/x/",
    ],
)
def test_other_uris_are_refused(uri):
    """A URI of another mission, of another scheme or with a path is no product of HST."""
    with pytest.raises(ProductNameError):
        parse_uri(uri)


@pytest.mark.parametrize(
    "filename",
    [
        "",
        ".",
        "..",
        ".fits",
        "jbqf03gjq",
        "jbqf03gjq_flc.",
        "../jbqf03gjq_flc.fits",
        "/etc/passwd.fits",
        "a\\b.fits",
        "jbqf03gjq_flc.fits\n",
        "jbqf03gjq_flc.fits\x00",
        "jbqf03gjq%2fflc.fits",
        "jbqf03gj\u212a_flc.fits",
        "a" * 251 + ".fits",
        "C:jbqf03gjq_flc.fits",
        "-rf.fits",
        "_flc.fits",
        "jbqf03gjq flc.fits",
        "jbqf03gjq_flc..fits",
        "jbqf03gjq\u2024fits",
    ],
)
def test_hostile_file_names_are_refused(filename):
    """What no file of the archive is called is refused, with a message that shows it without control characters."""
    with pytest.raises(ProductNameError, match="no file name of the archive") as caught:
        parse_filename(filename)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "key",
    [
        "hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits",
        "hst/public/references/x_idc.fits",
        "mast/hlsp/a/v1.0/hlsp_b.fits",
    ],
)
def test_keys_of_the_bucket_are_taken_from_s3_uris(key):
    """An S3 URI may name any object of the public bucket."""
    assert key_of_s3_uri(f"s3://stpubdata/{key}") == key


@pytest.mark.parametrize(
    "uri",
    [
        "s3://other/hst/public/x.fits",
        "s3://stpubdata",
        "s3://stpubdata/",
        "s3://stpubdata//x",
        "s3://stpubdata/a/../b",
        "s3://stpubdata/./b",
        "s3://stpubdata/a\x00",
        "s3://stpubdata/a%2fb",
        "s3://stpubdata.evil/a",
        "S3://stpubdata/a",
        "https://stpubdata/a",
        "s3://stpubdata@evil/a",
        "s3://stpubdata/a/",
        "s3://stpubdata/\u212a",
        "s3://stpubdata/" + "a" * 1025,
        "s3://stpubdata/a\\b",
        "s3://stpubdata/a\n",
        "s3:stpubdata/a",
    ],
)
def test_other_s3_uris_are_refused(uri):
    """Other buckets, and keys that a path could not hold, are refused."""
    with pytest.raises(ProductNameError, match=r"expected 's3://stpubdata|holds no acceptable key"):
        key_of_s3_uri(uri)


@pytest.mark.parametrize("text", ["jbqf03gjq", "JBQF03GJQ", "jbqf03010", "f05i0201m", "u4ge0106j"])
def test_rootnames_are_told(text):
    """Nine letters and digits, the first of them an instrument's."""
    assert is_rootname(text)


@pytest.mark.parametrize(
    "text", ["", "jbqf03gj", "jbqf03gjqq", "qbqf03gjq", "jbqf03gj_", "9bqf03gjq", "jbqf03gj\u212a", "jbqf03gj\n"]
)
def test_other_texts_are_no_rootnames(text):
    """Neither other lengths nor other characters, nor some that only become plain letters in lower case."""
    assert not is_rootname(text)


def test_visit_prefix_is_that_of_all_keys_of_the_visit():
    """Eight characters of the name of any of its files, six of them the visit's."""
    assert visit_prefix("JBQF03GJQ") == "hst/public/jbqf/jbqf03"


@given(filenames())
def test_key_and_name_tell_each_other(filename):
    """A file name gives a key whose last part is the name, and which its own URI gives again."""
    key = key_of(parse_filename(filename))
    if not key:
        assert filename[8] in "jx"
        return
    assert KEY.fullmatch(key)
    assert key.rpartition("/")[2] == filename
    assert key.startswith(visit_prefix(filename))
    assert key_of_s3_uri(f"s3://stpubdata/{key}") == key
    assert key_of(parse_uri(f"mast:HST/product/{filename}"), key.split("/")[3]) == key
    assert dataset_folder(key.split("/")[3]) == key.split("/")[3]


@given(HOSTILE, HOSTILE)
@example("jbqf03gjq_flc.fits", "jbqf03gj\u212a")
@example("u4ge0106j_jit.fits", "u4ge01/..")
def test_no_hostile_text_reaches_a_key_or_a_file_name(text, obs_id):
    """Whatever a server sends is refused, or is a name that can be a file and a key in its folder."""
    for parse in (parse_filename, parse_uri):
        name, message = tried(parse, text)
        assert message.isprintable()
        if name is None:
            continue
        assert re.fullmatch(r"([A-Za-z0-9][A-Za-z0-9_+=-]*(\.[A-Za-z0-9_+=-]+)+)?", name.filename)
        assert len(name.filename) <= 255
        key, message = tried(key_of, name, obs_id)
        assert message.isprintable()
        assert not key or KEY.fullmatch(key)
    key, message = tried(key_of_s3_uri, text)
    assert message.isprintable()
    if key is not None:
        assert key.isascii()
        assert all(part not in {"", ".", ".."} for part in key.split("/"))
        assert not set(key) & set("\\%:?#* ~$\x00\n")
