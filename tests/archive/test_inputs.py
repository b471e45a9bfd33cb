"""Whatever a person or a service calls a product becomes a Product, or is refused; nothing hostile passes."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Row, Table
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.archive.inputs import as_product, as_products
from hst_cloud.archive.names import key_of, parse_filename
from hst_cloud.errors import ProductNameError
from hst_cloud.values import Product

NAME = "jbqf03gjq_flc.fits"
URI = f"mast:HST/product/{NAME}"
KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"
HAP = "hst_16912_02_acs_wfc_f606w_jety02_drc.fits"
HLA = "mast:HLA/url/cgi-bin/getdata.cgi?dataset=hst_12058_01_wfc3_uvis_f275w_01_drz.fits"
PREVIEW = "mast:HLA/url/cgi-bin/preview.cgi?dataset=hst_12058_01_wfc3_uvis_f275w_01"

# Pieces of good and of hostile names, to be put together in any order.
PIECES = st.lists(
    st.sampled_from(
        ["..", "/", "\\", "%2e%2e", "\x00", "\n", "\x1b[2J", " ", "~", "?", "*", "\u202e", "\uff0e", "\u212a", "\udc80"]
    )
    | st.sampled_from(
        ["mast:HST/product/", "mast:HLA/", "s3://stpubdata/", "s3://other/", "hst/public/jbqf/jbqf03gjq/"]
    )
    | st.sampled_from(["jbqf03gjq", "JBQF03GJQ", "u4ge0106j", "_flc", ".fits", "hst_", "hlsp_", "."])
    | st.text(max_size=3),
    max_size=6,
).map("".join)


def assert_harmless(product):
    """Nothing of a product that becomes a path or an address can be anything but a plain name."""
    for part in [product.filename, *product.key.removesuffix("/").split("/")]:
        assert re.fullmatch(r"([A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*)?", part), product
    assert not product.key.startswith("/")
    assert re.fullmatch(r"([A-Za-z0-9_+=-][A-Za-z0-9_.+=-]*)?", product.obs_id), product
    assert product.uri is None or (product.uri.isprintable() and product.uri.startswith("mast:"))
    assert product.reason.isprintable()
    assert product.size is None or product.size > 0
    assert product.etag is None or (product.etag.isascii() and product.etag.isprintable() and '"' not in product.etag)


# --- Texts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        NAME,
        NAME.upper(),
        f" {NAME} ",
        np.str_(NAME),
        NAME.encode(),
        URI,
        f"mast:HST/product/{NAME.upper()}",
        f"s3://stpubdata/{KEY}",
    ],
)
def test_one_product_has_many_names(text):
    """A file name, a MAST URI and an S3 URI, as text of any kind, name the same product."""
    product = as_product(text)
    assert product == Product(filename=NAME, uri=URI, obs_id="jbqf03gjq", key=KEY)
    assert {type(product.filename), type(product.key), type(product.obs_id), type(product.uri)} == {str}


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("jbqf03gjq", "jbqf03gjq"),
        ("JBQF03010", "jbqf03010"),
        ("j8ck01041", "j8ck01040"),
        ("u9o40504m", "u9o40504m"),
        ("s3://stpubdata/hst/public/jbqf/jbqf03010/", "jbqf03010"),
    ],
)
def test_the_name_of_an_observation_is_its_folder(text, folder):
    """A rootname or association has several files: its key is their folder's, and the reason says so."""
    product = as_product(text)
    assert (product.filename, product.uri, product.obs_id) == ("", None, folder)
    assert product.key == f"hst/public/{folder[:4]}/{folder}/"
    assert product.status == "unverified"
    assert "several files" in product.reason


def test_jitter_file_by_name_has_no_key():
    """Its name does not tell its folder, and the reason says what would."""
    product = as_product("u4ge0106j_jit.fits")
    assert (product.filename, product.key, product.obs_id) == ("u4ge0106j_jit.fits", "", "")
    assert product.status == "unverified"
    assert "u4ge0106j_jit.fits" in product.reason
    assert "obs_id" in product.reason


@pytest.mark.parametrize(
    ("text", "filename", "uri", "words"),
    [
        (HAP, HAP, f"mast:HST/product/{HAP}", "Hubble Advanced Product"),
        (HAP.removesuffix("_drc.fits"), "", None, "Hubble Advanced Product"),
        (HLA, "hst_12058_01_wfc3_uvis_f275w_01_drz.fits", HLA, "Legacy Archive"),
        (PREVIEW, "", PREVIEW, "Legacy Archive"),
        (
            "hst_12058_01_wfc3_uvis_f275w_01_drz.fits",
            "hst_12058_01_wfc3_uvis_f275w_01_drz.fits",
            None,
            "Legacy Archive",
        ),
        ("hst_12058_01_wfc3_uvis_f275w_01", "", None, "Legacy Archive"),
        ("hlsp_a_v1.0_x.fits", "hlsp_a_v1.0_x.fits", None, "Science Product"),
        ("mast:HLSP/a/hlsp_a_v1.0_x.fits", "hlsp_a_v1.0_x.fits", "mast:HLSP/a/hlsp_a_v1.0_x.fits", "Science Product"),
    ],
)
def test_products_of_others_are_not_mirrored(text, filename, uri, words):
    """HAP, HLA and HLSP are known to MAST and not in the public bucket."""
    product = as_product(text)
    assert (product.filename, product.uri, product.key) == (filename, uri, "")
    assert product.status == "not_mirrored"
    assert words in product.reason


def test_s3_uri_may_name_any_object_of_the_bucket():
    """A key is taken as given, even where MAST has no name for the object."""
    product = as_product("s3://stpubdata/mast/hlsp/a/hlsp_a_v1.fits")
    assert (product.filename, product.key, product.uri) == ("hlsp_a_v1.fits", "mast/hlsp/a/hlsp_a_v1.fits", None)
    jitter = as_product("s3://stpubdata/hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits")
    assert (jitter.uri, jitter.obs_id) == ("mast:HST/product/u4ge0106j_jit.fits", "u4ge0106r")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "names nothing"),
        ("jbqf03", "'jbqf03' names no file and no observation"),
        ("JBQF03GJ\u212a", "names no file and no observation"),
        ("u4ge0106j", "u4ge0106j is how jitter files are called"),
        ("../jbqf03gjq_flc.fits", "no file name of the archive"),
        ("/etc/passwd", "no file name of the archive"),
        ("jbqf03gjq_flc.fits\n", r"'jbqf03gjq_flc.fits\\n' is no file name"),
        ("jbqf03gjq%2e%2e.fits", "no file name of the archive"),
        ("https://example.org/jbqf03gjq_flc.fits", "no file name of the archive"),
        ("s3://other/hst/public/jbqf/jbqf03gjq/jbqf03gjq_flc.fits", "not in the public bucket"),
        ("s3://stpubdata/hst/public/../x.fits", "no acceptable key"),
        ("mast:JWST/product/jw01345001001_cal.fits", "not of HST"),
    ],
)
def test_what_names_nothing_is_refused(text, words):
    """With what was found and what was expected."""
    with pytest.raises(ProductNameError, match=words):
        as_product(text)


@pytest.mark.parametrize("like", [3, 3.5, object(), ["jbqf03gjq"], {}, {"name": NAME}, Table({"dataURI": [URI]}), Row])
def test_other_types_are_refused(like):
    """The message says what is expected."""
    with pytest.raises(ProductNameError, match="expected"):
        as_product(like)


def test_nothing_is_refused():
    """None, as older tools put into lists for what they did not find, and a masked value name nothing."""
    for like in (None, np.ma.masked):
        with pytest.raises(ProductNameError, match="names nothing"):
            as_product(like)


# --- Rows ------------------------------------------------------------------------------------------------------------


def test_row_of_products_is_read_by_mast_names():
    """Upper case, blanks and masked values are the services' ways; size and observation are kept."""
    table = Table(
        {
            "obs_id": ["U4GE0106R", "jbqf03gjq", "jbqf03gjq "],
            "dataURI": MaskedColumn(["mast:HST/product/u4ge0106j_jit.fits", "", URI], mask=[False, True, False]),
            "productFilename": ["u4ge0106j_jit.fits", NAME, NAME],
            "size": MaskedColumn([100, 0, 7], mask=[False, False, True]),
            "dataRights": ["PUBLIC", "EXCLUSIVE_ACCESS", ""],
        }
    )
    jitter, exclusive, plain = as_products(table)
    assert jitter.key == "hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits"
    assert (jitter.size, jitter.obs_id, jitter.status) == (100, "u4ge0106r", "unverified")
    assert (exclusive.key, exclusive.size, exclusive.status) == (KEY, None, "exclusive")
    assert "EXCLUSIVE_ACCESS" in exclusive.reason
    assert plain == Product(filename=NAME, uri=URI, obs_id="jbqf03gjq", key=KEY)
    assert as_products(list(table)) == [jitter, exclusive, plain]
    assert [as_product(row) for row in table] == [jitter, exclusive, plain]
    assert as_products([dict(zip(row.colnames, row, strict=True)) for row in table]) == [jitter, exclusive, plain]


@pytest.mark.parametrize("kind", [Table, QTable])
def test_columns_of_any_kind_are_read(kind):
    """Bytes, objects, and sizes with units or as text are what tables become on their travels."""
    table = kind({"productFilename": np.array([NAME.encode(), b""]), "obs_id": np.array(["jbqf03gjq", None], object)})
    table["size"] = [1, 2] * u.kbyte if kind is QTable else ["1000", "?"]
    named, empty = as_products(table)
    assert named == Product(filename=NAME, uri=URI, obs_id="jbqf03gjq", key=KEY, size=1000)
    assert (empty.key, empty.status) == ("", "unverified")
    assert "names nothing" in empty.reason
    assert as_product(table[0]) == named


def test_masked_quantities_are_unknown_sizes():
    """As in a QTable that came from a file."""
    table = QTable({"productFilename": [NAME, NAME], "size": MaskedColumn([3, 4], mask=[True, False], unit="byte")})
    assert [p.size for p in as_products(table)] == [None, 4]


@pytest.mark.parametrize("size", [0, -1, None, np.nan, np.inf, "", "large", np.ma.masked, 0 * u.byte])
def test_a_size_that_says_nothing_is_unknown(size):
    """MAST writes null or 0 where it does not know."""
    assert as_product({"productFilename": NAME, "size": size}).size is None


def test_rows_of_the_missions_api_are_read():
    """Their data set may be the association of a member, a product within one, or of no relation to the file."""
    table = Table(
        {
            "dataset": ["JBEVET010", "J8OB02011", "U4GE0106R", "JBEVET010", "N43C05030", "Z14Z0104T"],
            "filename": [
                "jbevetdqq_flt.fits",
                "j8ob02011_drz.fits",
                "u4ge0106j_jit.fits",
                "jbevetdqj_jit.fits",
                "i7k16544n_flt.fits",
                "z14z0104x_ocx.fits",
            ],
            "uri": ["-"] * 6,
            "access": ["PUBLIC"] * 5 + ["RESTRICTED"],
            "size": [1, 2, 3, 4, 5, 6],
        }
    )
    products = as_products(table)
    assert [p.key for p in products] == [
        "hst/public/jbev/jbevetdqq/jbevetdqq_flt.fits",
        "hst/public/j8ob/j8ob02010/j8ob02011_drz.fits",
        "hst/public/u4ge/u4ge0106r/u4ge0106j_jit.fits",
        "",
        "",
        "hst/public/z14z/z14z0104t/z14z0104x_ocx.fits",
    ]
    assert [p.size for p in products] == [1, 2, 3, 4, 5, 6]
    assert "obs_id" in products[3].reason
    assert "i7k16544n_flt.fits does not belong to the observation 'N43C05030'" in products[4].reason
    assert products[5].status == "exclusive"


def test_rows_of_observations_name_their_main_product_or_their_folder():
    """A mast: URI in dataURL names the product, anything else does not."""
    drizzled = "mast:HST/product/ibf302040_drz.fits"
    table = Table(
        {
            "obs_id": ["ibf302040", "O6AU01MSQ", "ibf302040", "hst_12058_01_wfc3_uvis_f275w", "../etc"],
            "dataURL": MaskedColumn(
                [drizzled, "", "http://x/y.fits", HLA, "-"], mask=[False, True, False, False, True]
            ),
            "obs_collection": ["HST", "HST", "HST", "HLA", "HST"],
        }
    )
    products = as_products(table)
    assert [p.key for p in products[:3]] == [
        "hst/public/ibf3/ibf302040/ibf302040_drz.fits",
        "hst/public/o6au/o6au01msq/",
        "hst/public/ibf3/ibf302040/",
    ]
    assert products[3].status == "not_mirrored"
    assert (products[4].key, products[4].obs_id) == ("", "")
    assert "'../etc'" in products[4].reason
    assert [as_product(row) for row in table[:4]] == products[:4]


def test_observations_of_the_missions_api_are_folders():
    """Named by sci_data_set_name, their rights by sci_status."""
    table = Table({"sci_data_set_name": ["W1DG8D06T", "JBQF03GJQ"], "sci_status": ["PUBLIC", "PROPRIETARY"]})
    public, exclusive = as_products(table)
    assert (public.key, public.status) == ("hst/public/w1dg/w1dg8d06t/", "unverified")
    assert (exclusive.key, exclusive.status) == ("hst/public/jbqf/jbqf03gjq/", "exclusive")
    assert "PROPRIETARY" in exclusive.reason


def test_names_of_columns_are_read_in_any_case():
    """TAP services write them all in lower case."""
    assert as_products(Table({"datauri": [URI], "OBS_ID": ["JBQF03GJQ"]})) == [as_product(NAME)]


def test_of_two_columns_for_one_part_the_portals_is_read():
    """Joined tables may hold the names of both of MAST's services, or one name twice."""
    row = {"filename": "jbqf03gjq_raw.fits", "productFilename": NAME, "PRODUCTFILENAME": "jbqf03gjq_spt.fits"}
    assert as_product(row) == as_product(NAME)


def test_products_of_the_legacy_archive_take_their_name_from_the_row():
    """Where the URI is a call of a script that does not tell it, and only if it is a name."""
    row = {"dataURI": PREVIEW, "productFilename": "hst_12058_01_wfc3_uvis_f275w_01_drz.jpg", "obs_id": "hst_12058_01"}
    product = as_product(row)
    assert (product.filename, product.uri) == ("hst_12058_01_wfc3_uvis_f275w_01_drz.jpg", PREVIEW)
    with pytest.raises(ProductNameError, match="no file name of the archive"):
        as_product(row | {"productFilename": "../../x.jpg"})


def test_the_uri_decides_over_the_file_name():
    """A row of another mission is not taken for one of HST, nor a hostile URI for its harmless file name."""
    for uri in ("mast:JWST/product/jw01345.fits", "mast:HST/product/../x.fits", "https://example.org/x.fits"):
        with pytest.raises(ProductNameError):
            as_product({"dataURI": uri, "productFilename": NAME})


def test_table_without_a_telling_column_is_refused():
    """The message names the columns that there are and those that are expected."""
    with pytest.raises(ProductNameError, match=r"expected dataURI, .* found target, filters"):
        as_products(Table({"target": ["M 51"], "filters": ["F814W"]}))


# --- What this package made ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "product",
    [
        Product(filename=NAME, uri=URI, obs_id="jbqf03gjq", key=KEY, size=5, etag="e", status="in_cloud"),
        Product(filename=NAME, uri=URI, obs_id="jbqf03gjq", key=KEY, status="missing", reason="not listed"),
        Product(
            filename="u4ge0106j_jit.fits", uri="mast:HST/product/u4ge0106j_jit.fits", status="missing", reason="none"
        ),
        Product(
            filename="",
            obs_id="jbqf03gjq",
            key="hst/public/jbqf/jbqf03gjq/",
            size=9,
            status="in_cloud",
            reason="2 files",
        ),
        as_product(HAP),
        as_product(HLA),
        as_product("does_not_exist.fits"),
        as_product("s3://stpubdata/hst/public/references/x_idc.fits"),
    ],
)
def test_what_is_known_of_a_product_is_kept(product):
    """A product that was resolved comes back as it was, as a value, as a row and pickled."""
    assert as_product(product) == product
    assert as_product(pickle.loads(pickle.dumps(product))) == product
    names = {"productFilename": "filename", "dataURI": "uri", "obs_id": "obs_id", "key": "key", "size": "size"}
    names |= {"etag": "etag", "status": "status", "reason": "reason"}
    assert as_product({column: getattr(product, field) for column, field in names.items()}) == product


def test_product_of_a_name_alone_gets_its_key():
    """Who makes a Product needs no more than its file name."""
    assert as_product(Product(filename=NAME)) == as_product(NAME)


def test_in_cloud_takes_a_key():
    """A row that claims to be in the bucket without saying where is not believed."""
    assert as_product({"dataURI": "does_not_exist.fits", "status": "in_cloud"}).status == "unverified"


def test_numbers_are_no_observations():
    """A column that became numbers on its travels is told as it is."""
    product = as_product({"dataURI": URI, "obs_id": 5})
    assert product.key == ""
    assert "'5'" in product.reason


def test_status_of_another_table_is_not_taken_for_ours():
    """Download manifests have a column of that name, too."""
    assert as_product({"dataURI": URI, "status": "COMPLETE"}).status == "unverified"


@pytest.mark.parametrize(
    "product",
    [
        Product(filename="../x.fits"),
        Product(filename=NAME, key="../../etc/passwd"),
        Product(filename=NAME, key="/hst/public/x.fits"),
        Product(filename=NAME, key="hst/public/jbqf/jbqf03gjq/jbqf03gjq_raw.fits"),
        Product(filename="", uri=URI, key="hst/public/jbqf/jbqf03gjq/jbqf03gjq_raw.fits"),
        Product(filename="", reason="it could not be read"),
    ],
)
def test_product_that_contradicts_itself_is_refused(product):
    """A key of another file, or no acceptable one, is no place to read from."""
    with pytest.raises(ProductNameError):
        as_product(product)


# --- Many ------------------------------------------------------------------------------------------------------------


def test_a_list_may_mix_everything():
    """Tables give as many products as they have rows; what cannot be read keeps its place and says why."""
    table = Table({"dataURI": [URI, "mast:HST/product/.."]})
    likes = [NAME, table, table[0], None, "../x", Product(filename=NAME), np.ma.masked, f"s3://stpubdata/{KEY}"]
    products = as_products(iter(likes))
    assert [p.key for p in products] == [KEY, KEY, "", KEY, "", "", KEY, "", KEY]
    assert all(p.reason for p in products if not p.key)
    assert "'../x'" in products[5].reason


@pytest.mark.parametrize(
    "likes", [NAME, NAME.encode(), Product(filename=NAME), {"dataURI": URI}, Table({"key": [KEY]})[0]]
)
def test_one_is_a_list_of_one(likes):
    """Texts are not taken apart into letters, nor rows and mappings into cells."""
    assert [p.key for p in as_products(likes)] == [KEY]


def test_arrays_and_columns_of_names_are_lists():
    """As they come out of tables."""
    assert [p.key for p in as_products(np.array([NAME, NAME]))] == [KEY, KEY]
    column = MaskedColumn([NAME, NAME], mask=[False, True])
    assert [p.key for p in as_products(column)] == [KEY, ""]


@pytest.mark.parametrize("likes", [[], (), Table({"dataURI": []}), iter([])])
def test_nothing_gives_nothing(likes):
    """An empty list has no products."""
    assert as_products(likes) == []


def test_wrong_type_in_a_list_is_refused_with_its_place():
    """That is a mistake in a program, which would otherwise lie hidden in a row."""
    with pytest.raises(ProductNameError, match=r"item 1, 7 of type int, names no product: expected"):
        as_products([NAME, 7])
    with pytest.raises(ProductNameError, match=r"^7 of type int, names no product: expected"):
        as_products(7)


@pytest.mark.parametrize("likes", [Table({"dataURI": [NAME, NAME]}), [NAME, NAME], (NAME, NAME)])
def test_many_where_one_is_wanted_are_told_from_what_names_no_product(likes):
    """A whole table was given to what takes one row: it does name products, and was printed over several lines."""
    kind = type(likes).__name__
    with pytest.raises(ProductNameError, match=rf"expected one product, found a {kind} of 2: give .*files\[0\]"):
        as_product(likes)


# --- Hostile texts ---------------------------------------------------------------------------------------------------


@given(PIECES)
def test_no_hostile_text_passes(text):
    """Any text is refused, or is a product whose name, key and observation are harmless, and which stays as it is."""
    (product,) = as_products([text])
    assert_harmless(product)
    if product.key or product.filename:
        assert as_product(product) == product
    else:
        assert product.reason


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "dataURI",
                "productFilename",
                "filename",
                "dataset",
                "obs_id",
                "dataURL",
                "dataRights",
                "key",
                "s3_uri",
                "size",
                "status",
                "reason",
                "etag",
                "project",
                "obs_collection",
            ]
        ),
        PIECES | st.sampled_from([None, NAME, URI, KEY, "jbqf03gjq", "in_cloud", "not_mirrored"]),
    )
)
def test_no_hostile_row_passes(row):
    """Nor does any mixture of good and hostile columns."""
    if not {"dataURI", "productFilename", "filename", "dataset", "obs_id", "dataURL", "key", "s3_uri"} & set(row):
        return
    (product,) = as_products([row])
    assert_harmless(product)
    (same,) = as_products(Table({name: np.array([value], dtype=object) for name, value in row.items()}))
    assert same == product


@given(st.from_regex(r"[ijlo][a-z0-9]{7}[0qrs1-8a-e]_(flt|raw|x1d)\.fits", fullmatch=True))
def test_rule_and_inputs_agree(filename):
    """A name's key is the rule's, however the name is given, and its key gives the name again."""
    product = as_product(filename)
    assert product.key == key_of(parse_filename(filename))
    assert as_product(f"s3://stpubdata/{product.key}") == product == as_product(product.uri)
