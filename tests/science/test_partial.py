"""Files that are not complete: what their journals tell, and what is believed of that."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.science import partial
from hst_cloud.science.partial import (
    Origin,
    PartFile,
    journal_line,
    leftovers,
    missing,
    part_name,
    read_journal,
    recorded,
    remove_leftovers,
    span,
    stem_of,
)

NAME = "jbqf03gjq_flc.fits"
KEY = f"hst/public/jbqf/jbqf03gjq/{NAME}"


def origin(size=1000, part=100, etag="e1"):
    return Origin(key=KEY, etag=etag, size=size, part=part)


def content_of(number):
    return bytes([number + 1]) * 100


# --- Plans -----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 10**5), st.sets(st.integers(0, 100)))
def test_parts_make_up_the_object(size, part, held):
    """Together, the parts are every byte once; those that are missing are the others than those that are held."""
    whole = Origin(key=KEY, etag="e", size=size, part=part)
    spans = [span(whole, number) for number in range(whole.count)]
    assert sum(each.size for each in spans) == size
    assert all(0 < each.size <= part for each in spans)
    assert all(a.stop == b.start for a, b in itertools.pairwise(spans))
    assert set(missing(whole, held)) == set(range(whole.count)) - held


@given(st.text(), st.none() | st.text())
def test_no_etag_leads_anywhere(filename, etag):
    """A name of a part file is one component, hidden, of harmless characters but for those of the file's own name."""
    name = part_name("a_flc.fits", etag)
    assert re.fullmatch(r"\.a_flc\.fits\.[0-9a-z-]+\.part", name)
    assert part_name("x" * 255, etag).startswith(stem_of("x" * 255))
    assert len(part_name("x" * 255, etag).encode()) <= 255 - len(".log~")


@given(st.text(min_size=1), st.text(min_size=1))
def test_versions_have_part_files_of_their_own(one, other):
    """Two ETags never share a part file, nor is one a prefix of another's stem."""
    assert (part_name(NAME, one) == part_name(NAME, other)) == (one == other)


# --- Journals --------------------------------------------------------------------------------------------------------


def journal(parts, of=None):
    return partial._journal(of or origin(), parts)


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 2**32 - 1)))
def test_a_journal_tells_what_was_written(parts):
    """What is written is read again."""
    assert read_journal(journal(parts)) == (origin(), parts)


@given(st.dictionaries(st.integers(0, 9), st.integers(0, 2**32 - 1)), st.integers(0, 400))
def test_a_journal_that_was_cut_tells_less(parts, at):
    """Wherever it ends, it tells of no part that is not whole in it."""
    found = read_journal(journal(parts)[:at])
    assert found is None or (found[0] == origin() and found[1].items() <= parts.items())


@given(st.binary(max_size=300))
def test_any_bytes_may_be_a_journal(data):
    """Damage is passed over; the first line decides."""
    assert read_journal(data) is None or data.startswith(b"{")
    whole = journal({1: 7})
    found = read_journal(whole + data + b"\n")
    assert found is not None
    assert found[1][1] == 7 or b"1 " in data


@pytest.mark.parametrize(
    "line",
    [
        b'{"format": 2, "key": "k", "etag": "e", "size": 1, "part": 1}',
        b'{"format": 1, "key": "k", "etag": null, "size": 1, "part": 1}',
        b'{"format": 1, "key": "k", "etag": "e", "size": -1, "part": 1}',
        b'{"format": 1, "key": "k", "etag": "e", "size": 1, "part": 0}',
        b'{"format": 1, "key": "k", "etag": "e", "size": 1, "part": 1, "path": "/etc"}',
        b"[]",
        b"",
    ],
)
def test_a_journal_of_something_else_is_none(line):
    """Another format, another version's fields, or nonsense: nothing is believed."""
    assert read_journal(line + b"\n0 00000000\n") is None


def test_parts_beyond_the_object_are_passed_over():
    """A journal cannot make anybody read where nothing is."""
    assert read_journal(journal({0: 1}) + journal_line(10, 1) + b"-1 00000000\n") == (origin(), {0: 1})


# --- Files -----------------------------------------------------------------------------------------------------------


def begun(folder, numbers, of=None):
    """Write parts, and leave the file as a process does that is killed."""
    file = PartFile.open(folder, NAME, of or origin())
    for number in numbers:
        file.write(number, content_of(number))
    file.close()
    return file


def test_parts_are_gone_on_with(tmp_path):
    """Who opens the file again has the parts that were written, in any order, and no others."""
    begun(tmp_path, [7, 0, 3])
    again = PartFile.open(tmp_path, NAME, origin())
    assert again.held == {0, 3, 7}
    assert again.read(300, 400) == content_of(3)
    again.close()


def test_a_part_that_the_disk_lost_is_fetched_again(tmp_path):
    """After a loss of power, zeros may stand where the journal tells of a part."""
    file = begun(tmp_path, [0, 1, 2])
    with file.path.open("r+b") as raw:
        raw.seek(100)
        raw.write(bytes(100))
    again = PartFile.open(tmp_path, NAME, origin())
    assert again.held == {0, 2}
    again.close()
    assert recorded(file.path)[1].keys() == {0, 2}


def test_a_file_that_was_cut_is_fetched_again(tmp_path):
    """The same holds for what lies behind its end."""
    file = begun(tmp_path, range(10))
    os.truncate(file.path, 850)
    again = PartFile.open(tmp_path, NAME, origin())
    assert again.held == set(range(8))
    again.close()


@pytest.mark.parametrize(
    "other",
    [origin(size=1001), origin(part=200), Origin(key=KEY.replace("gjq", "gmq"), etag="e1", size=1000, part=100)],
)
def test_parts_of_something_else_are_not_used(tmp_path, other):
    """Of another size, in other parts, or of another object: nothing of it is held."""
    begun(tmp_path, [0, 1])
    again = PartFile.open(tmp_path, NAME, other)
    assert again.held == set()
    again.close()


def test_without_a_version_nothing_is_gone_on_with(tmp_path):
    """Parts of an object without an ETag may be of any version."""
    begun(tmp_path, [0, 1], origin(etag=None))
    again = PartFile.open(tmp_path, NAME, origin(etag=None))
    assert again.held == set()
    again.close()


def test_a_file_of_one_part_has_no_journal(tmp_path):
    """A thousand small files make a thousand files, and not two thousand."""
    file = PartFile.open(tmp_path, NAME, origin(size=100))
    file.write(0, content_of(0))
    assert [path.name for path in tmp_path.iterdir()] == [file.path.name]
    file.close()


def test_a_file_is_given_its_name_whole(tmp_path):
    """After `publish`, the name has all bytes, and part file and journal are gone."""
    file = PartFile.open(tmp_path, NAME, origin(size=250))
    for number in range(3):
        file.write(number, content_of(number)[: span(file.origin, number).size])
    modified = file.sync()
    file.publish(tmp_path / NAME, overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (tmp_path / NAME).stat().st_mtime_ns == modified
    assert (tmp_path / NAME).read_bytes() == content_of(0) + content_of(1) + content_of(2)[:50]


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    """A name that somebody else took keeps its file, unless it shall be overwritten."""
    (tmp_path / NAME).write_bytes(b"mine")
    file = PartFile.open(tmp_path, NAME, origin(size=100))
    file.write(0, content_of(0))
    with pytest.raises(FileExistsError):
        file.publish(tmp_path / NAME, overwrite=False)
    assert (tmp_path / NAME).read_bytes() == b"mine"
    file.publish(tmp_path / NAME, overwrite=True)
    assert (tmp_path / NAME).read_bytes() == content_of(0)


HOLD = """
import sys, pathlib, time
from hst_cloud.science.partial import Origin, PartFile
file = PartFile.open(pathlib.Path(sys.argv[1]), sys.argv[2], Origin(key=sys.argv[3], etag="e1", size=1000, part=100))
print("held", flush=True)
sys.stdin.read()
"""


def test_one_process_writes_at_a_time(tmp_path):
    """While another process has the file, it can be neither opened nor removed; its death lets go of it."""
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLD, str(tmp_path), NAME, KEY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert PartFile.open(tmp_path, NAME, origin()) is None
        remove_leftovers(leftovers(tmp_path)[stem_of(NAME)])
        assert (tmp_path / part_name(NAME, "e1")).exists()
        other.kill()
    file = PartFile.open(tmp_path, NAME, origin())
    assert file is not None
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_finished_meanwhile_is_not_written_into(tmp_path, monkeypatch):
    """Between opening and locking, whoever had the lock may have given the file its name."""
    begun(tmp_path, [0])
    finished, locked = tmp_path / NAME, partial._locked

    def late(fd):
        if not finished.exists():
            (tmp_path / part_name(NAME, "e1")).rename(finished)
        return locked(fd)

    monkeypatch.setattr(partial, "_locked", late)
    file = PartFile.open(tmp_path, NAME, origin())
    file.write(1, content_of(1))
    file.close()
    assert finished.stat().st_size == 100
    assert file.path.stat().st_size == 200


def test_a_link_in_the_way_is_not_followed(tmp_path):
    """Who plants a link where a part file will be does not have another file written."""
    precious = tmp_path / "precious"
    precious.write_bytes(b"mine")
    (tmp_path / part_name(NAME, "e1")).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic"):
        PartFile.open(tmp_path, NAME, origin())
    assert precious.read_bytes() == b"mine"
    precious.unlink()
    with pytest.raises(OSError, match="symbolic"):
        PartFile.open(tmp_path, NAME, origin())
    assert not precious.exists()


def test_leftovers_are_known_by_the_file(tmp_path):
    """Part files of all versions of a file are found, and those of a file whose name begins alike are not."""
    for name, etag in [(NAME, "e1"), (NAME, "e2"), (f"{NAME}.gz", "e1"), ("x" * 255, "e1")]:
        (tmp_path / part_name(name, etag)).touch()
    found = leftovers(tmp_path)
    assert {path.name for path in found[stem_of(NAME)]} == {part_name(NAME, "e1"), part_name(NAME, "e2")}
    assert [path.name for path in found[stem_of("x" * 255)]] == [part_name("x" * 255, "e1")]
    assert leftovers(tmp_path / "nowhere") == {}
