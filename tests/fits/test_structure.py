"""What is looked up in a header is what stands there, whatever bytes it is made of."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.fits.structure import BLOCK, CARD, Cards, extent, header_stop, number
from hst_cloud.values import ByteRange

# Keywords that contain, precede and follow one another across the borders of cards.
NAMES = ["A", "AA", "NAXIS", "NAXIS1", "XNAXIS", "END", "ENDX", "SIMPLE", "EXTNAME", "COMMENT", ""]


@st.composite
def headers(draw):
    """Make bytes that may be a header: cards, cards with others inside, and anything at all, of any length."""
    name = st.sampled_from(NAMES).map(lambda name: name.ljust(8).encode())
    tail = st.sampled_from(
        [
            b"= 1",
            b"= -12 / x",
            b"= 'a''b  '",
            b"= 'A       ' / 'B'",
            b"=                    T",
            b"",
            b"  END",
            b"= 1.5E3",
        ]
    )
    plain = st.builds(lambda n, t: (n + t).ljust(CARD), name, tail)
    hidden = st.builds(lambda n, at: b"#" * at + n + b"#" * (CARD - at - 8), name, st.integers(0, CARD - 8))
    cards = draw(st.lists(plain | hidden | st.binary(min_size=CARD, max_size=CARD), max_size=80))
    return b"".join(cards) + draw(st.binary(max_size=CARD))


@given(headers())
def test_cards_are_the_first_of_each_keyword(header):
    """The oracle takes all cards apart; what is asked for by its keyword is the first that has it, or nothing."""
    first = {}
    for at in range(0, len(header) // CARD * CARD, CARD):
        first.setdefault(header[at : at + 8], header[at : at + CARD])
    for buffer in (header, memoryview(header)):
        cards = Cards(buffer)
        for name in NAMES:
            expected = first.get(name.ljust(8).encode(), b"")
            assert cards.card(name) == expected
            assert cards.field(name) == expected[8:]
            assert (name in cards) == bool(expected)


@given(headers())
def test_the_first_end_on_a_card_ends_a_header(header):
    """END and 77 blanks where a card begins, in a block that is whole: the header ends with that block."""
    blocks = len(header) // BLOCK * BLOCK
    ends = [at for at in range(0, blocks, CARD) if header[at : at + CARD] == b"END".ljust(CARD)]
    expected = (ends[0] // BLOCK + 1) * BLOCK if ends else None
    assert header_stop(header) == header_stop(memoryview(header)) == expected


@given(st.integers(0, 75), st.integers(0, 75), st.integers(0, 200))
def test_the_end_is_found_behind_what_resembles_it(before, like, more):
    """ENDS, ENDING and END with a remark are no end; a later END is not looked for."""
    cards = [b"A".ljust(CARD)] * before + [b"ENDS"] + [b"END / of it"] + [b"END x"] * like
    content = b"".join(card.ljust(CARD) for card in cards) + b"END".ljust(CARD)
    stop = -(-len(content) // BLOCK) * BLOCK
    content = content.ljust(stop) + b"END".ljust(CARD) * more
    assert header_stop(content) == stop
    assert header_stop(content[: stop - 1]) is None


@pytest.mark.parametrize(
    ("text", "integer", "value"),
    [
        ("= 42 / the answer", 42, 42.0),
        ("=                 -1", -1, -1.0),
        ("= +7/", 7, 7.0),
        ("= 1.5", None, 1.5),
        ("= -.5E-3 / x", None, -0.0005),
        ("= 3.", None, 3.0),
        ("= 1.2345678901234567E+02", None, 123.45678901234567),
        ("= 1D5", None, None),
        ("= 1 2", None, None),
        ("= 'x'", None, None),
        ("= T", None, None),
        ("=", None, None),
        ("  12", None, None),
        ("= NaN", None, None),
    ],
)
def test_numbers_are_read_in_their_usual_form_alone(text, integer, value):
    """What is written in another way has no value here: it is left to those who ask astropy."""
    card = f"KEY     {text}".ljust(CARD).encode()
    cards = Cards(card)
    assert cards.integer("KEY") == integer
    assert cards.number("KEY") == number(card) == value
    assert cards.number("OTHER") is None
    assert cards.integer("OTHER", 5) == 5


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**17), 10**17))
def test_numbers_are_astropys(value):
    """Every number that astropy writes is read as astropy reads it."""
    card = str(fits.Card("KEY", value))
    assert Cards(card.encode()).number("KEY") == float(fits.Card.fromstring(card).value)


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30))
def test_texts_are_astropys(value):
    """Quotes are doubled in a card, and blanks at its end are no part of it."""
    card = str(fits.Card("KEY", value))
    assert Cards(card.encode()).text("KEY") == value.strip()


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "f8"])
def test_an_extent_has_type_and_shape_of_what_is_stored(shape, dtype):
    """BITPIX and the axes in the order of numpy; those of a table are its bytes and rows."""
    hdu = fits.ImageHDU(np.zeros(shape, dtype) if shape else None, name="SCI", ver=3)
    found = extent(hdu.header.tostring().encode(), 5760)
    assert (found.name, found.ver) == ("SCI", 3)
    assert found.bitpix == hdu.header["BITPIX"]
    assert found.shape == shape
    assert found.header == ByteRange(5760, 5760 + BLOCK)
    assert found.data.size == abs(found.bitpix) // 8 * (int(np.prod(shape)) if shape else 0)
    table = fits.BinTableHDU.from_columns([fits.Column("A", "J", array=[1, 2, 3])])
    assert extent(table.header.tostring().encode(), 5760).shape == (3, 4)


@pytest.mark.parametrize(
    ("text", "ver"), [("0", 0), ("-1", -1), ("2.0", 2), ("2.5", 1), ("'x'", 1), ("1E300", 1), ("1E999", 1), ("", 1)]
)
def test_a_version_is_what_the_card_says(text, ver):
    """0 is one, and not that of which there is none."""
    header = fits.ImageHDU(name="SCI").header.tostring().encode()
    card = b"".join([b"EXTVER  = ", text.encode()]).ljust(CARD)
    end = b"END".ljust(CARD)
    assert extent(header.replace(end, card + end, 1)[: len(header)], 5760).ver == ver
