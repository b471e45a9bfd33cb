"""The checks that the standard library has not, against the values of their standards and a loop over bits."""

from __future__ import annotations

import base64
import hashlib
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hst_cloud.fits.crc import CRC32C, CRC64NVME, Crc
from hst_cloud.fits.verify import check


def crc(polynomial, *chunks):
    found = Crc(polynomial)
    for chunk in chunks:
        found.update(chunk)
    return found.digest()


def slow(polynomial, data):
    """Return the check, bit by bit."""
    ones = 0xFFFFFFFFFFFFFFFF if polynomial > 0xFFFFFFFF else 0xFFFFFFFF
    register = ones
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (polynomial if register & 1 else 0)
    return (register ^ ones).to_bytes(8 if ones > 0xFFFFFFFF else 4, "big")


@pytest.mark.parametrize(("polynomial", "expected"), [(CRC32C, "e3069283"), (CRC64NVME, "ae8b14860a799888")])
def test_the_values_that_the_standards_give(polynomial, expected):
    """Of the digits from one to nine: RFC 3720 and the catalogue of CRCs."""
    assert crc(polynomial, b"123456789").hex() == expected


@given(st.sampled_from([CRC32C, CRC64NVME]), st.lists(st.binary(max_size=80), max_size=4))
def test_bytes_in_chunks_of_any_size(polynomial, chunks):
    """However they are cut, the check is that of a loop over bits."""
    assert crc(polynomial, *chunks) == slow(polynomial, b"".join(chunks))


def test_many_bytes():
    """More than there are lanes; CRC-32 of the standard library has the same form with another polynomial."""
    data = np.random.default_rng(1).bytes(300_001)
    assert crc(0xEDB88320, data[:200_000], data[200_000:]) == zlib.crc32(data).to_bytes(4, "big")


CONTENT = b"no FITS" * 1000
SUMS = {
    "crc32": zlib.crc32(CONTENT).to_bytes(4, "big"),
    "crc32c": crc(CRC32C, CONTENT),
    "crc64nvme": crc(CRC64NVME, CONTENT),
    "sha1": hashlib.sha1(CONTENT).digest(),
    "sha256": hashlib.sha256(CONTENT).digest(),
}


@pytest.mark.parametrize("kind", SUMS)
def test_a_stored_checksum_is_compared(kind):
    """One byte that is wrong is found, and the message says what was expected and found."""
    told = base64.b64encode(SUMS[kind]).decode()
    good = check(lambda a, b: CONTENT[a:b], len(CONTENT), "opaque", f"{kind} {told}")
    assert (good.check, good.fault, good.of_content) == (kind, "", True)
    wrong = CONTENT[:-1] + b"X"
    bad = check(lambda a, b: wrong[a:b], len(wrong), "opaque", f"{kind} {told}")
    assert f"expected {kind} {told}" in bad.fault


def test_a_checksum_of_an_unknown_kind_proves_nothing():
    """Nothing is claimed of what nobody can compare."""
    found = check(lambda a, b: CONTENT[a:b], len(CONTENT), "opaque", "xxhash128 AAAA")
    assert not found.of_content
