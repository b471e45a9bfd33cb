"""Manifests: rows and files, and what is believed of either."""

from __future__ import annotations

import dataclasses
import json

from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.science.manifest import (
    Entry,
    entries_of,
    is_manifest,
    known_files,
    note,
    products_of,
    read_manifest,
    save,
    table_of,
)

NAME = "manifest.ecsv"


def entry(name="jabc01aaq_flc.fits", **options):
    key = f"hst/public/{name[:4]}/{name[:9]}/{name}"
    told = {"productFilename": name, "key": key, "etag": "e", "size": 4, "status": "downloaded", "path": name}
    return Entry(**(told | options))


def there(folder, name, **options):
    """Write a file, and return the entry that tells of it."""
    (folder / name).write_bytes(b"data")
    return entry(name, modified=(folder / name).stat().st_mtime_ns, **options)


TEXTS = st.text(st.characters(blacklist_categories=["Cs", "Cc"], blacklist_characters="\u2028\u2029\x85")).map(
    str.strip
)


@given(
    st.lists(
        st.builds(
            lambda text, size, path: entry(reason=text, size=size, path=path),
            TEXTS,
            st.none() | st.integers(0, 2**62),
            TEXTS,
        ),
        min_size=1,
    )
)
def test_rows_are_read_as_they_were_written(entries):
    """Through a table, and its ECSV text."""
    table = table_of(entries, {"criteria": {"layout": "flat"}})
    assert is_manifest(table)
    assert entries_of(table) == entries
    assert not is_manifest(table["key", "status"])


def test_odd_values_are_not_known():
    """A table that somebody made may hold anything; it becomes no path and no trust."""
    table = table_of([entry()], {})
    table["size"], table["modified"], table["status"], table["path"] = ["big"], [-1], ["perfect"], [7]
    assert entries_of(table) == [entry(size=None, modified=None, status="pending", path="")]


def test_products_of_a_manifest():
    """What was done is wanted in its version; of the rest nothing is taken for granted but what it is called."""
    entries = [entry(), entry("jabc01abq_flc.fits", status="missing"), Entry(reason="'x y' names no file")]
    done, missing, unknown = products_of(entries)
    assert (done.key, done.etag, done.status) == (entries[0].key, "e", "unverified")
    assert (missing.key, missing.etag, missing.status) == (entries[1].key, None, "unverified")
    assert (unknown.key, unknown.filename) == ("", "")
    assert "'x y' names no file" in unknown.reason


def test_the_journal_is_known_until_the_manifest_is(tmp_path):
    """What a killed process has noted is known to the next one, and the manifest takes it in."""
    done = there(tmp_path, "jabc01aaq_flc.fits")
    note(tmp_path, NAME, done)
    assert known_files(tmp_path, NAME) == {done.path: done}
    assert known_files(tmp_path, None) == {}
    other = entry("jabc01abq_flc.fits", status="missing", path="")
    save(tmp_path, NAME, [other], {"criteria": {}})
    assert entries_of(read_manifest(tmp_path / NAME)) == [done, other]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jabc01aaq_flc.fits", NAME]


def test_a_note_of_a_file_that_never_came_is_dropped(tmp_path):
    """The note is made before the file gets its name; whoever dies in between has no row."""
    note(tmp_path, NAME, entry(modified=1))
    save(tmp_path, NAME, [], {})
    assert entries_of(read_manifest(tmp_path / NAME)) == []


def test_a_journal_that_was_cut(tmp_path):
    """Lines that are damaged are passed over."""
    done = there(tmp_path, "jabc01aaq_flc.fits")
    note(tmp_path, NAME, done)
    with (tmp_path / f".{NAME}.log").open("ab") as file:
        file.write(b"[]\n\xff\n" + json.dumps(dataclasses.asdict(entry("jabc01abq_flc.fits"))).encode()[:-9])
    assert known_files(tmp_path, NAME) == {done.path: done}


def test_new_rows_replace_old_ones(tmp_path):
    """A product has one row: the last call's."""
    save(tmp_path, NAME, [entry(status="failed"), entry("jabc01abq_flc.fits")], {})
    save(tmp_path, NAME, [entry(status="present")], {})
    assert [(e.path[:9], e.status) for e in entries_of(read_manifest(tmp_path / NAME))] == [
        ("jabc01abq", "downloaded"),
        ("jabc01aaq", "present"),
    ]


def test_no_row_is_a_manifest_too(tmp_path):
    """A call for nothing writes one that can be read."""
    save(tmp_path, NAME, [], {})
    assert len(read_manifest(tmp_path / NAME)) == 0
    assert is_manifest(Table.read(tmp_path / NAME))
