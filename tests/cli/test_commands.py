"""The commands: what they write for whom, how they pass tables on, and how they fail."""

import json
import os
import shlex
import subprocess
import sys
import time
import warnings

import pytest
from astropy.table import Table
from commandline import run, shell

from hst_cloud import errors
from hst_cloud.cli import EXIT_CODES, cli, commands
from hst_cloud.cli.progress import progress_line
from hst_cloud.testing import LocalArchive, make_demo_archive
from hst_cloud.values import Progress

DRC = "hst/public/jzdm/jzdm01010/jzdm01011_drc.fits"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_demo_archive(tmp_path_factory.mktemp("archive"), scale=32, instruments=["ACS", "COS"])


@pytest.fixture
def archive(folder):
    with LocalArchive(folder) as running:
        yield running


# --- From one command to the next ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["jsonl", "csv", "ecsv"])
def test_each_command_reads_what_the_former_wrote(archive, form):
    """A target's name becomes the HDUs of its products, in every form that travels through pipes."""
    found = run("search", "M 51", "--instrument", "ACS/WFC", "--filter", "F814W", "--format", form)
    files = run("products", "--suffix", "drc", "--format", form, stdin=found.out)
    places = run("resolve", "--verify", "--format", form, stdin=files.out)
    hdus = run("info", "--format", "jsonl", stdin=places.out)
    assert [r.code for r in (found, files, places, hdus)] == [0, 0, 0, 0]
    assert "".join(r.err for r in (found, files, places, hdus)) == ""
    assert [row["name"] for row in hdus.rows] == ["PRIMARY", "SCI", "WHT", "CTX", "HDRTAB"]
    assert {row["key"] for row in hdus.rows} == {DRC}


def test_real_pipes(archive):
    """Four processes, nothing on standard error, and the keys of the last one's rows."""
    done = shell(
        "hst-cloud search 'M 51' --instrument ACS/WFC | hst-cloud products --suffix drc "
        "| hst-cloud resolve --verify | hst-cloud info",
        archive,
    )
    *rows, codes = done.stdout.splitlines()
    assert codes == "0 0 0 0"
    assert done.stderr == ""
    assert {json.loads(row)["key"] for row in rows} == {DRC}


def test_a_reader_that_goes_away_is_no_error(archive):
    """``| head -1`` ends the program quietly."""
    names = " ".join(f"jbqf{i:05}_flc.fits" for i in range(4000))
    done = shell(f"hst-cloud resolve {names} | head -1", archive)
    row, codes = done.stdout.splitlines()
    assert json.loads(row)["productFilename"] == "jbqf00000_flc.fits"
    assert codes == "141 0"
    assert done.stderr == ""


def test_nothing_found_is_passed_on(archive):
    """A search without result has its own exit code, and so has what follows it."""
    found = run("search", "M 51", "--instrument", "COS")
    assert (found.code, found.out) == (3, "")
    assert found.err == "hst-cloud: MAST has no observation that meets all of these conditions\n"
    files = run("products", stdin=found.out)
    assert (files.code, files.out, files.err) == (3, "", "hst-cloud: nothing came in on standard input\n")


def test_names_are_arguments_or_lines(archive):
    """A product may be typed, or stand in a list of names."""
    typed = run("resolve", "jzdm01011_drc.fits", f"s3://stpubdata/{DRC}", "--verify")
    listed = run("resolve", "--verify", stdin=f"jzdm01011_drc.fits\ns3://stpubdata/{DRC}\n")
    assert typed.out == listed.out
    assert [(row["key"], row["status"]) for row in typed.rows] == [(DRC, "in_cloud")] * 2
    assert all(isinstance(row["size"], int) and row["etag"] for row in typed.rows)


def test_observations_are_named_or_numbered(archive):
    """``products`` takes what MAST calls an observation, either way."""
    found = {row["obs_id"]: row["obsid"] for row in run("search", "M 51", "--instrument", "ACS/WFC").rows}
    assert run("products", "jzdm01aaq").rows == run("products", found["jzdm01aaq"]).rows


def test_units_are_those_of_mast_and_missing_values_are_null(archive):
    """JSON lines hold MAST's own columns: plain numbers, and null where there is none."""
    row = run("search", "M 51", "--instrument", "ACS/WFC").rows[0]
    assert isinstance(row["t_min"], float)
    assert isinstance(row["obsid"], str)
    assert None in row.values()


def test_columns_are_chosen(archive):
    """One column of a pipe, as for a loop of the shell; an unknown one is named with those that there are."""
    found = run("search", "M 51", "--instrument", "ACS/WFC", "--columns", "obs_id,t_exptime", "--format", "csv")
    assert found.out.splitlines()[0] == "obs_id,t_exptime"
    wrong = run("search", "M 51", "--instrument", "ACS/WFC", "--columns", "exptime")
    assert wrong.code == 2
    assert "there is no column 'exptime'; there are intentType, " in wrong.err


# --- For a person ----------------------------------------------------------------------------------------------------


def test_a_table_for_a_person(archive):
    """The telling columns, dates as dates, and the number of rows."""
    found = run("search", "M 51", "--instrument", "ACS/WFC", "--format", "table")
    lines = found.out.splitlines()
    assert lines[0].split()[:3] == ["obs_id", "instrument_name", "target_name"]
    assert any("jzdm01aaq" in line and "2024-01-01 06:00" in line for line in lines)
    assert lines[-1].startswith(f"{len(lines) - 3} rows; ")


def test_info_for_a_person(archive):
    """Key, size, version, and what opening took: the same requests and bytes that the archive saw."""
    archive.forget()
    found = run("info", "jzdm01011_drc.fits", "--format", "table")
    seen = [request for request in archive.requests if request.service == "s3"]
    size = (archive.folder / DRC).stat().st_size
    assert found.code == 0
    assert f"  key   {DRC}\n" in found.out
    assert f"({size:,} bytes), ETag " in found.out
    assert f"  read  {len(seen)} request" in found.out
    assert "HDRTAB" in found.out


def test_info_counts_what_was_read(archive):
    """Requests and bytes are those that the archive has answered."""
    archive.forget()
    row = run("info", "lzdm01010_x1dsum.fits").rows[0]
    assert row["requests"] == len(archive.requests)
    assert row["bytes_read"] == sum(request.bytes for request in archive.requests)
    assert row["size"] == (archive.folder / row["key"]).stat().st_size
    assert row["etag"]


def test_a_narrow_encoding_is_no_error(archive):
    """Where the terminal has no letter, it shows a question mark."""
    done = shell(
        "hst-cloud search 'M 51' --instrument ACS/WFC --format table",
        archive,
        extra={"PYTHONIOENCODING": "latin-1", "COLUMNS": "30"},
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert "?" in done.stdout


def test_a_real_terminal(folder):
    """A table that fits the terminal on standard output, and progress on standard error that is wiped away."""
    import pty

    ends = [pty.openpty() for _ in range(2)]
    with LocalArchive(folder, latency=0.6) as archive:
        env = os.environ | {"HST_CLOUD_ENDPOINT": archive.endpoint, "COLUMNS": "60", "TERM": "xterm"}
        command = [sys.executable, "-m", "hst_cloud.cli", "search", "M 51", "--instrument", "ACS/WFC"]
        (out, out_end), (err, err_end) = ends
        done = subprocess.run(command, stdout=out_end, stderr=err_end, env=env, check=False)
        text, shown = (os.read(end, 1 << 16).decode().replace("\r\n", "\n") for end in (out, err))
    for end in (out, out_end, err, err_end):
        os.close(end)
    assert done.returncode == 0
    assert text.startswith("obs_id")
    assert all(len(line) <= 60 for line in text.splitlines())
    assert "\r\x1b[Kasking MAST" in shown
    assert shown.endswith("\r\x1b[K")


# --- What goes wrong -------------------------------------------------------------------------------------------------


def test_some_products_fail(archive):
    """What can be opened is told, what cannot is named, and the exit code says so."""
    found = run("info", "jzdm01011_drc.fits", "jzdm09zzq_flc.fits", "lzdm01010_x1dsum.fits")
    assert found.code == 4
    assert {row["productFilename"] for row in found.rows} == {"jzdm01011_drc.fits", "lzdm01010_x1dsum.fits"}
    assert found.err.startswith("hst-cloud: ")
    assert "jzdm09zzq_flc.fits" in found.err
    assert found.err.count("\n") == 1


def test_the_bare_program_shows_its_help():
    """It was pressed into one line of an error."""
    bare, asked = run(), run("--help")
    assert bare == asked
    assert bare.out.splitlines()[0] == "Usage: hst-cloud [OPTIONS] COMMAND [ARGS]..."


def test_no_product_can_be_opened(archive):
    """Then nothing was done, as for every other command."""
    assert run("info", "jzdm09zzq_flc.fits", "M51").code == 1


def test_a_closed_output_is_one_line(archive):
    """A shell's ``>&-`` leaves the program without a stream, which was an AttributeError."""
    program = f"exec {shlex.quote(sys.executable)} -m hst_cloud.cli where >&-"
    found = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr.count("\n")) == (1, 1)
    assert found.stderr.startswith("hst-cloud: standard output is closed: ")


def test_some_products_are_not_there(archive):
    """Every input has its row; those without a place are told on standard error too."""
    found = run("resolve", "--verify", "jzdm01011_drc.fits", "jzdm01zzq_flc.fits", "no/name")
    assert found.code == 4
    assert [row["status"] for row in found.rows] == ["in_cloud", "missing", "unverified"]
    assert found.err.count("\n") == 2
    assert "jzdm01zzq_flc.fits: missing: " in found.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "--instrument", "ACS/WCF"], "instrument='ACS/WCF' is no instrument"),
        (["search"], "search needs a target"),
        (["search", "M 51", "--criteria", "nonsense"], "'nonsense' is no condition"),
        (["search", "M 51", "--criteria", "exposure=1"], "MAST has no column 'exposure'"),
        (["search", "M 51", "--exptime", "5"], "'5' is no range"),
        (["search", "M 51", "--radius", "3"], "radius='3' is no angle"),
        (["search", "No such object"], "No such object"),
        (["products", "jzdm01aaq", "--suffix", "dcr"], "dcr"),
        (["serch"], "No such command 'serch'"),
        (["search", "--nonsense"], "No such option"),
        (["search", "M", "51"], "unexpected extra argument (51). See hst-cloud search --help."),
        (["resolve", "x_raw.fits", "--endpoint", "localhost"], "'localhost' is not the address of an archive"),
        (["demo", "--instrument", "NICMOS"], "the demonstration has no instrument 'NICMOS'"),
    ],
)
def test_wrong_usage_is_one_line(archive, arguments, says):
    """What makes no sense is told in one line, without a traceback."""
    found = run(*arguments)
    assert found.code == 2
    assert found.out == ""
    assert found.err.startswith("hst-cloud: ")
    assert found.err.count("\n") == 1
    assert says in found.err


def test_an_archive_that_does_not_answer(archive):
    """The error is one line; with --debug, the traceback stands before it."""
    nowhere = ["--endpoint", "http://127.0.0.1:9", "--deadline", "1"]
    found = run("search", "M 51", *nowhere)
    assert found.code == 1
    assert found.err.count("\n") == 1
    assert "http://127.0.0.1:9" in found.err
    assert "Traceback" in run("search", "M 51", *nowhere, "--debug").err
    assert os.environ["HST_CLOUD_ENDPOINT"] == archive.endpoint


def test_a_fault_of_ours_is_one_line_too(archive, monkeypatch):
    """An error that nobody foresaw asks for --debug."""

    def broken(*_, **__):
        message = "by\nzero"
        raise ZeroDivisionError(message)

    monkeypatch.setattr(commands.hst, "resolve", broken)
    found = run("resolve", "jzdm01011_drc.fits")
    assert (found.code, found.err) == (1, "hst-cloud: unexpected ZeroDivisionError: by zero (--debug shows where)\n")


def test_an_interruption_has_its_code(archive, monkeypatch):
    """Ctrl-C leaves no traceback."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(commands.hst, "resolve", interrupted)
    found = run("resolve", "jzdm01011_drc.fits")
    assert found.code == 130
    assert "Traceback" not in found.err


def test_warnings_are_one_line(archive):
    """A warning names what there is, and is not a Python warning with a line of code."""
    found = run("products", "jzdm01aaq", "--suffix", "drc")
    assert found.code == 3
    assert found.err.splitlines()[0].startswith("hst-cloud: warning: ")
    assert ".py:" not in found.err


def test_warnings_hold_no_control_characters(archive, monkeypatch):
    """What a server said cannot clear the screen through a warning."""

    def warns(*_, **__):
        warnings.warn("a\x1b[2J\nb", errors.HSTCloudWarning, stacklevel=2)
        return Table({"key": ["a"], "status": ["in_cloud"]})

    monkeypatch.setattr(commands.hst, "resolve", warns)
    assert run("resolve", "x").err == "hst-cloud: warning: a [2J b\n"


@pytest.mark.parametrize("command", ["products", "resolve", "info"])
def test_broken_input_is_one_line(archive, command):
    """A line that is not of the first one's form is named."""
    found = run(command, stdin='{"obs_id": "jzdm01aaq"}\n{"obs_id"')
    assert found.code == 1
    assert found.err.startswith("hst-cloud: line 2 of the input is no JSON")


def test_help_tells_options_and_exit_codes():
    """Every command has help; the program's own tells the exit codes."""
    found = run("--help")
    assert found.code == 0
    for code, meaning in EXIT_CODES.items():
        assert f"{code:3}  {meaning}" in found.out
    for name in cli.commands:
        assert "--format" in run(name, "--help").out
    assert run("--version").out.startswith("hst-cloud, version ")


def test_the_doctor_tells_what_fails(archive):
    """The demonstration archive is not the public one, and the doctor sees it."""
    found = run("doctor")
    rows = run("doctor", "--format", "jsonl").rows
    statuses = {row["status"] for row in rows}
    assert found.code == (1 if "fails" in statuses else 4 if "unknown" in statuses else 0)
    assert {"name", "status", "found", "breaks"} <= set(rows[0])
    assert f"{sum(row['status'] == 'holds' for row in rows)} hold" in found.out


# --- Progress --------------------------------------------------------------------------------------------------------


class Terminal:
    def __init__(self, tty):
        self.tty, self.text = tty, ""

    def isatty(self):
        return self.tty

    def write(self, text):
        self.text += text

    def flush(self):
        pass


def test_progress_on_a_terminal():
    """What takes long tells how far it is, and its line is gone at the end."""
    stream = Terminal(tty=True)
    with progress_line("asking", stream=stream, patience=0.01) as progress:
        progress(Progress(what="observations", done=1200, total=5000))
        while "5,000" not in stream.text:
            time.sleep(0.01)
    assert "asking: 1,200 of 5,000 observations" in stream.text
    assert stream.text.endswith("\r\x1b[K")


def test_no_progress_in_a_pipe_or_for_what_is_quick():
    """Nothing at all is written."""
    for stream, patience in ((Terminal(tty=False), 0.0), (Terminal(tty=True), 60.0)):
        with progress_line("asking", stream=stream, patience=patience) as progress:
            progress(Progress(what="observations", done=1, total=2))
        assert stream.text == ""
