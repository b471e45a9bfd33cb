"""Keywords read from bytes are what astropy says of the same header, card for card."""

from __future__ import annotations

import bz2
import gzip
import warnings

import pytest
from astropy.io import fits
from astropy.io.fits.verify import VerifyError
from hypothesis import given
from hypothesis import strategies as st
from support import SHARED_DATA

from hst_cloud.errors import FormatError, QueryError
from hst_cloud.fits.keywords import MOST, Memo, every, normalized, pick

END = b"END".ljust(80)


def header_of(*cards):
    """Return the blocks of a header with these cards, given as texts."""
    text = b"".join(card.encode("latin1").ljust(80) for card in cards) + END
    return text.ljust(-(-len(text) // 2880) * 2880)


def oracle(header, keyword):
    """Return what astropy says; a `FormatError` where it raises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = fits.Header.fromstring(header)
            if keyword not in parsed:
                return "absent"
            value = parsed[keyword]
        except (VerifyError, ValueError):
            return FormatError
    return "\n".join(map(str, value)) if keyword in {"COMMENT", "HISTORY"} else value


def picked(header, keyword):
    try:
        return pick(header, [keyword], Memo()).get(keyword, "absent")
    except FormatError:
        return FormatError


def names_of(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = [fits.Card.normalize_keyword(name) for name in fits.Header.fromstring(header)]
    return [name for name in dict.fromkeys(names) if name]


def same(mine, theirs):
    """Tell whether two values are equal and of one type."""
    return type(mine) is type(theirs) and (mine == theirs or repr(mine) == repr(theirs))


def assert_same(header, also=()):
    """Compare every keyword, and each by its name."""
    names = names_of(header)
    expected = {name: oracle(header, name) for name in names}
    for name in [*names, *also]:
        assert same(picked(header, name), oracle(header, name)), name
    if FormatError in expected.values():
        with pytest.raises(FormatError):
            every(header, Memo())
        return
    found = every(header, Memo())
    assert list(found) == names
    assert all(same(found[name], expected[name]) for name in names), (found, expected)


# --- Generated headers -----------------------------------------------------------------------------------------------

printable = st.text(st.characters(min_codepoint=32, max_codepoint=126))
keywords = st.text("ABCXYZ019_-", min_size=1, max_size=8)
values = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.complex_numbers(allow_nan=False, allow_infinity=False),
    printable.filter(lambda text: len(text) < 60),
    st.text("abc '&/:", max_size=300),
    st.none(),
)


@st.composite
def headers(draw):
    """Make headers as astropy writes them, with all kinds of cards."""
    header = fits.Header()
    for _ in range(draw(st.integers(0, 12))):
        kind = draw(
            st.sampled_from(["card", "card", "card", "hierarch", "record", "comment", "history", "blank", "again"])
        )
        keyword = draw(keywords)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            match kind:
                case "card":
                    header.append((keyword, draw(values), draw(printable)[:20]))
                case "hierarch":
                    header.append((f"HIERARCH ESO {keyword}", draw(st.integers(0, 9))))
                case "record":
                    header.append(
                        (f"DP{draw(st.integers(1, 2))}", f"AXIS.{draw(st.integers(1, 2))}: {draw(st.integers(0, 9))}")
                    )
                case "again" if len(header):
                    header.append((draw(st.sampled_from(list(header))) or "BLANK", draw(st.integers(0, 9))))
                case "comment" | "history":
                    header.append((kind.upper(), draw(printable)[:200]))
                case _:
                    header.append(("", draw(printable)[:60]))
    return header


@given(headers())
def test_headers_that_astropy_writes(header):
    """Every keyword of a generated header has astropy's value and type, in the order of first appearance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text = header.tostring().encode("latin1")
        except ValueError:  # a card that astropy makes but does not write
            return
    assert_same(text, also=["EXPTIME", "DP1", "DP2", "COMMENT", "HISTORY"])


FIELDS = [
    "KEY     ",
    "KEY-2   ",
    "key     ",
    " KEY    ",
    "K Y     ",
    "KEY",
    "HIERARCH A KEY ",
    "HIERARCH KEY ",
    "\tKEY    ",
]
EQUALS = ["= ", "= ", "= ", "=", " ", "  = "]
TEXTS = [
    "T", "F", "TF", "5", "+5", "-0", "007", "1_000", "1.", ".5", "1E5", "1.5D+03", "1.5d3", "1e5", "1 E 5", "- 5", "1.5.2",
    "(1, 2)", "( 1.5 , -2E3)", "(1,2", "'text'", "'it''s'", "''", "'   '", "'open", "'a'b'", "'AXIS.1: 2'", "'a: b'",
    "'long&'", "", "NaN", "9" * 30, "\xe9", "'\xe9'", "'a'/c", "5/c",
]  # fmt: skip


@st.composite
def odd_cards(draw):
    start = draw(st.sampled_from(FIELDS)) + draw(st.sampled_from(EQUALS))
    blanks = draw(st.sampled_from(["", "   ", " " * 15]))
    comment = draw(st.sampled_from(["", " / comment", " / it's: '1'", "/", " text"]))
    return (start + blanks + draw(st.sampled_from(TEXTS)) + comment)[:80]


other_cards = st.sampled_from(
    [
        "CONTINUE  'more&'",
        "CONTINUE  'end' / c",
        "CONTINUE x",
        "COMMENT = 5",
        "HISTORY",
        "",
        "    KEY = 5",
        "COMMENT",
        "END of",
    ]
)


@given(st.lists(st.one_of(odd_cards(), odd_cards(), other_cards), max_size=6))
def test_cards_that_nobody_should_write(cards):
    """What astropy makes of misspelt, shifted and broken cards is what is made of them here, refusals included."""
    assert_same(header_of(*cards), also=["KEY", "KEY-2", "A KEY", "MISSING"])


@given(headers(), headers())
def test_memory_does_not_change_values(first, second):
    """A header that is read with what is remembered of another is read as if it were the first."""
    memo = Memo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            texts = [header.tostring().encode("latin1") for header in (first, second)]
        except ValueError:
            return
    for text in texts:
        assert repr(every(text, memo)) == repr(every(text, Memo()))


def test_memory_is_bounded(monkeypatch):
    """More cards than are to be remembered are read all the same."""
    monkeypatch.setattr("hst_cloud.fits.keywords.MOST", 10)
    memo = Memo()
    for i in range(100):
        assert pick(header_of(f"KEY     = {i}"), ["KEY"], memo) == {"KEY": i}
        assert len(memo) <= 10
    assert MOST > 10


# --- One behavior each -----------------------------------------------------------------------------------------------


def test_a_string_goes_on_over_cards():
    """CONTINUE cards belong to the card before them, by name and in the whole."""
    header = header_of("A       = 'one &'", "CONTINUE  'two &'", "CONTINUE  'three' / c", "B       = 5")
    assert pick(header, ["A", "B"], Memo()) == {"A": "one two three", "B": 5}
    assert every(header, Memo()) == {"A": "one two three", "B": 5}


def test_a_text_that_speaks_of_continue_goes_on_with_nothing():
    """The word within a card makes no chain, not even behind one."""
    header = header_of("A       = 'one &'", "CONTINUE  'two'", "B       = 'CONTINUE'", "C       = 'CONTINUE'")
    assert every(header, Memo()) == {"A": "one two", "B": "CONTINUE", "C": "CONTINUE"}


def test_a_keyword_is_not_found_in_a_text():
    """The name of a keyword within another card, even where a card could begin, is not that keyword."""
    header = header_of("COMMENT EXPTIME = 1", "A       = 'EXPTIME = 2'", "XEXPTIME= 3", "EXPTIME = 4.5")
    assert pick(header, ["EXPTIME", "EXPTIM"], Memo()) == {"EXPTIME": 4.5}


def test_what_is_behind_end_does_not_count():
    """Cards between END and the end of the block are none."""
    header = (b"A       = 1".ljust(80) + END + b"B       = 2".ljust(80)).ljust(2880)
    assert every(header, Memo()) == {"A": 1}
    assert pick(header, ["B"], Memo()) == {}


def test_record_valued_cards():
    """Record-valued keywords (FITS Paper IV) have astropy's names; the bare name gives the text of the first."""
    header = header_of("DP1     = 'EXTVER: 1'", "DP1     = 'NAXES: 2.5'", "D2IMERR1= 0.002")
    assert every(header, Memo()) == {"DP1.EXTVER": 1.0, "DP1.NAXES": 2.5, "D2IMERR1": 0.002}
    assert pick(header, ["DP1.NAXES", "DP1"], Memo()) == {"DP1.NAXES": 2.5, "DP1": "EXTVER: 1"}
    assert pick(header_of("HIERARCH DP1.EXTVER = 5"), ["DP1", "DP1.EXTVER"], Memo()) == {"DP1.EXTVER": 5}
    assert oracle(header_of("HIERARCH DP1.EXTVER = 5"), "DP1") == "absent"


def test_a_broken_card_matters_to_who_asks_for_it():
    """A card that astropy refuses is an error for its keyword and for all keywords, and for no other."""
    header = header_of("GOOD    = 1", "BAD     = 1.5.2")
    assert pick(header, ["GOOD", "MISSING"], Memo()) == {"GOOD": 1}
    with pytest.raises(FormatError, match=r"the value of BAD cannot be read: .* found 'BAD     = 1\.5\.2'"):
        pick(header, ["BAD"], Memo())
    with pytest.raises(FormatError, match="the value of BAD"):
        every(header, Memo())


@pytest.mark.parametrize(
    ("given", "name"),
    [("exptime", "EXPTIME"), (" EXPTIME ", "EXPTIME"), ("dp1.AXIS.1", "DP1.AXIS.1"), ("HIERARCH eso x", "ESO X")],
)
def test_names_are_normalized_as_astropy_does(given, name):
    """A keyword may be asked for in any case, with or without HIERARCH."""
    assert normalized(given) == name


@pytest.mark.parametrize("given", ["", "  ", "EXP*", "EXPTIM?", "EXP..."])
def test_a_name_is_one_keyword(given):
    """Nothing, and wildcards, are refused by what was given."""
    with pytest.raises(QueryError, match="is not the name of one keyword: expected one such as 'EXPTIME'"):
        normalized(given)


# --- Real headers ----------------------------------------------------------------------------------------------------

FILES = sorted(
    p.relative_to(SHARED_DATA)
    for p in (SHARED_DATA / "fits").rglob("*")
    if p.is_file() and p.suffix not in {".hdr", ".Z"}
)


@pytest.fixture(params=FILES or ["none"], ids=str)
def real_headers(request, shared_data):
    """Return the bytes of each header of a real file."""
    path = shared_data / request.param
    raw = {".gz": gzip.decompress, ".bz2": bz2.decompress}.get(path.suffix, bytes)(path.read_bytes())
    try:
        with fits.open(path, memmap=False, disable_image_compression=True) as hdul:
            places = [hdu.fileinfo() for hdu in hdul]
    except (OSError, ValueError, TypeError):
        pytest.skip("astropy does not open it")
    return [raw[place["hdrLoc"] : place["datLoc"]] for place in places]


@pytest.mark.filterwarnings("ignore")
def test_real_headers(real_headers):
    """Every keyword of every header of the real files at hand, by name and in the whole."""
    for header in real_headers:
        assert_same_real(header)


def assert_same_real(header):
    parsed = fits.Header.fromstring(header)
    names = list(dict.fromkeys(fits.Card.normalize_keyword(name) for name in parsed if name))
    expected = {}
    for name in names:
        try:
            value = parsed[name]
        except (VerifyError, ValueError):
            value = FormatError
        expected[name] = "\n".join(map(str, value)) if name in {"COMMENT", "HISTORY"} else value
    refused = [name for name in names if expected[name] is FormatError]
    memo = Memo()
    if not refused:
        found = every(header, memo)
        assert list(found) == names
        assert all(same(found[name], expected[name]) for name in names)
    for name in refused:
        with pytest.raises(FormatError):
            pick(header, [name], memo)
    found = pick(header, [name for name in names if name not in refused], memo)
    assert all(same(found[name], expected[name]) for name in found)
    assert len(found) == len(names) - len(refused)
