"""What a notebook shows: no tag but those of a table, no text that is not escaped, no more than 30 rows."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hst_cloud as hst
from hst_cloud.cost.estimates import Estimate, PathCost
from hst_cloud.cost.ledger import Source, Tally, ledger
from hst_cloud.cost.whereabouts import Place
from hst_cloud.fits.structure import HDUExtent, Layout
from hst_cloud.markup import MOST, html_table
from hst_cloud.values import ByteRange, Outcome, Product

HOSTILE = st.one_of(
    st.text(),
    st.sampled_from(
        [
            "<script>alert(1)</script>",
            "</td></tr></table><img src=x onerror=alert(1)>",
            "' onmouseover='x",
            '" style="position:fixed',
            "&lt;b&gt;&#60;script&#62;",
            "<!--",
            "]]>",
            "javascript:alert(1)",
            "\x00<\x1fscript>",
            "\u202ecod.exe",
        ]
    ),
)


class Dom(HTMLParser):
    """The elements of a text, with their attributes, and the text of each cell."""

    def __init__(self, markup):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.cells, self.open, self.others = [], set(), [], [], []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= set(attrs)
        self.open.append(tag)
        if tag in {"td", "th", "caption"}:
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in {"td", "th", "caption"}:
            self.cells[-1] += data
        else:
            self.others.append(data.strip())

    def handle_comment(self, data):
        self.others.append(data)

    handle_decl = unknown_decl = handle_pi = handle_comment


def assert_harmless(markup):
    """Check that nothing but a table is there, all of whose attributes are this package's own."""
    dom = Dom(markup)
    assert dom.open == []
    assert set(dom.tags) <= {"table", "caption", "tr", "th", "td"}
    assert {name for name, _ in dom.attributes} <= {"style", "colspan"}
    assert {value for name, value in dom.attributes if name == "style"} <= {"text-align: right", "text-align: left"}
    assert "".join(dom.others) == ""
    assert dom.tags.count("tr") <= MOST + 2
    return dom


@given(title=HOSTILE, cells=st.lists(HOSTILE, min_size=1, max_size=4), head=st.booleans())
def test_whatever_a_text_holds_it_stays_a_text(title, cells, head):
    """Every cell shows its own characters, those that HTML cannot hold excepted, and no element comes of them."""
    dom = assert_harmless(html_table(title, [cells], head=["a"] * len(cells) if head else ()))
    names = ["a"] * len(cells) if head else []
    expected = ["".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text) for text in [title, *cells]]
    assert dom.cells == [expected[0], *names, *expected[1:]]


def test_a_long_text_is_cut():
    """A reason may quote a whole page."""
    assert max(map(len, assert_harmless(html_table("t", [["a", "x" * 10_000]])).cells)) < 600


@given(text=HOSTILE)
def test_the_values_of_this_package_are_harmless(text):
    """Whatever a server put into names, reasons and versions."""
    product = Product(filename=text, key=text, reason=text)
    hdus = tuple(
        HDUExtent(name=text, ver=n, header=ByteRange(0, 2880), data=ByteRange(2880, 5760), shape=(3, 4))
        for n in range(40)
    )
    path = PathCost(path="in region", seconds=1, usd=0, usd_most=0, usd_owner=0)
    values = [
        Outcome(product=product, error=ValueError(text)),
        Outcome(product=product, value=text),
        Layout(key=text, size=5, etag=text, hdus=hdus),
        Place(region=text, how=text, hints={text: text}, endpoint=text, public=False, link="far", nat=None),
        Estimate(verb=text, products=3, unknown=1, requests=5, bytes=7, bound="about", paths=[path] * 3),
    ]
    for value in values:
        assert_harmless(value._repr_html_())


def test_the_table_of_a_report_is_escaped_by_astropy():
    """It is astropy's own; addresses of stores are in it."""
    source = Source("<script>alert(1)</script>", "nobody")
    ledger().tallies[source] = Tally(requests=1)
    try:
        markup = hst.report()._repr_html_()
    finally:
        del ledger().tallies[source]
    dom = Dom(markup)
    assert "script" not in dom.tags
    assert "<script>alert(1)</script>" in dom.cells


def test_no_more_than_thirty_rows_are_shown_and_made():
    """The others are counted, and not even looked at."""

    def rows():
        for number in range(MOST):
            yield [number, "x"]
        pytest.fail("a row was made that is not shown")

    dom = assert_harmless(html_table("many", rows(), head=["number", "text"], total=1234))
    assert dom.cells[-1] == "... and 1,204 more"


def test_an_outcome_tells_what_it_has():
    """The kind and the shape of a value, which is not looked into; or the reason."""

    class Picture:
        shape = (3, 4)

        def __repr__(self):
            pytest.fail("the value was looked into")

    product = Product(filename="jbqf03gjq_flc.fits")
    shown = assert_harmless(Outcome(product=product, value=Picture(), requests=1234)._repr_html_())
    assert shown.cells[:3] == ["jbqf03gjq_flc.fits", "value", "Picture of shape (3, 4)"]
    assert "1,234" in shown.cells
    assert Dom(Outcome(product=product, error=ValueError("no"))._repr_html_()).cells[1:3] == [
        "failed",
        "ValueError: no",
    ]
