"""A bar keeps still on fast work, tells how far slow work is, and is gone when it is done."""

import io
import re
import sys
import time

import pytest

import hst_cloud as hst
from hst_cloud.errors import QueryError
from hst_cloud.values import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def terminal_for(monkeypatch):
    """Make standard error a terminal: within a test, for pytest sets its own before each."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


def told(bar, *done, total=3):
    for number in done:
        bar(Progress(what="products", done=number, total=total))


def test_fast_work_shows_nothing(monkeypatch):
    """Not before a second, and then there is nothing to wipe away either."""
    terminal = terminal_for(monkeypatch)
    told(hst.progress_bar(), 1, 2, 3)
    assert terminal.getvalue() == ""


def test_slow_work_has_one_line_that_is_gone_at_the_end(monkeypatch):
    """It names the work, and is written no more often than can be read."""
    terminal = terminal_for(monkeypatch)
    monkeypatch.setattr("hst_cloud.bars.PERIOD", 60)
    told(hst.progress_bar("headers", patience=0.0), 1, 2, 3)
    assert terminal.getvalue() == "\r\x1b[Kheaders: 1 of 3 products, 0 s\r\x1b[K"


def test_a_bar_serves_one_call_after_another(monkeypatch):
    """The seconds before its call, and those of an earlier one, do not count."""
    terminal = terminal_for(monkeypatch)
    bar = hst.progress_bar(patience=0.05)
    told(bar, 1, 3)
    time.sleep(0.06)
    told(bar, 1)
    assert terminal.getvalue() == ""
    time.sleep(0.06)
    told(bar, 2)
    assert re.fullmatch(r"\r\x1b\[Kdone: 2 of 3 products, \d+ s", terminal.getvalue())


def test_nothing_is_written_where_nobody_looks(capsys):
    """A pipe or a file gets no line."""
    told(hst.progress_bar(patience=0.0), 1, 2, 3)
    assert capsys.readouterr().err == ""


def test_patience_below_zero_is_an_error():
    """The error tells what was given."""
    with pytest.raises(QueryError, match=r"patience=-1\.0.*seconds"):
        hst.progress_bar(patience=-1.0)
