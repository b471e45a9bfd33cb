"""Whether a file's bytes are the right ones: ETags of both kinds, and the sums that FITS files tell of themselves."""

from __future__ import annotations

import hashlib
import io
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from support import hdulists

from hst_cloud.fits.verify import (
    LENGTH,
    LENGTH_AND_ETAG,
    check,
    etag_md5,
    etag_parts,
    fits_sums,
    ones_complement,
    part_sizes,
)

MIB = 1024 * 1024


def reader(content):
    return lambda start, stop: content[start:stop]


def checked(content, etag="opaque"):
    return check(reader(content), len(content), etag)


def md5(data):
    return hashlib.md5(data, usedforsecurity=False)


def etag_of_parts(content, part):
    digests = [md5(content[i : i + part]).digest() for i in range(0, len(content), part)]
    return f"{md5(b''.join(digests)).hexdigest()}-{len(digests)}"


def saved(*hdus, checksum=True):
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(buffer, checksum=checksum)
    return buffer.getvalue()


def astropy_agrees(content):
    """Tell whether astropy finds nothing wrong with the sums of any HDU."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with fits.open(io.BytesIO(content), checksum=True, disable_image_compression=True) as hdul:
            for hdu in hdul:
                _ = hdu.data
    return not [w for w in said if "erification failed" in str(w.message)]


# --- ETags -----------------------------------------------------------------------------------------------------------


def test_the_etag_of_one_piece_is_the_md5():
    """It is compared whatever the case of its digits, and a fault tells both sums."""
    content = b"SIMPLE" * 1000
    digest = md5(content).hexdigest()
    assert checked(content, digest) == checked(content, digest.upper())
    assert (checked(content, digest).check, checked(content, digest).fault) == ("md5", "")
    wrong = checked(content[:-1] + b"e", digest)
    assert wrong.check == "md5"
    assert f"expected MD5 {digest}" in wrong.fault
    assert md5(content[:-1] + b"e").hexdigest() in wrong.fault


@pytest.mark.parametrize("etag", ["", "W/" + "0" * 32, "0" * 31, "g" * 32, "0" * 32 + "-", "0" * 32 + "-0", None])
def test_other_etags_are_no_md5(etag):
    """What has not the form of an MD5 is compared with nothing."""
    assert etag_md5(etag) is None
    assert etag_parts(etag) is None
    assert checked(b"content", etag).check == (LENGTH if etag is None else LENGTH_AND_ETAG)
    assert not checked(b"content", etag).of_content


@pytest.mark.parametrize("mib", [5, 7, 8, 16])
def test_the_etag_of_parts_is_compared_where_their_size_can_be_guessed(mib):
    """The usual sizes are tried, and the smallest whole number of MiB that makes so many parts."""
    content = bytes(2 * mib * MIB + 100)
    verdict = checked(content, etag_of_parts(content, mib * MIB))
    guessed = mib if mib != 7 else "?"
    assert verdict.check == (f"md5 of parts ({guessed} MiB)" if mib != 7 else LENGTH_AND_ETAG)
    assert verdict.fault == ""


def test_parts_of_equal_size_are_guessed():
    """An upload may have been divided into equal parts, to the byte or to the MiB."""
    content = np.random.default_rng(1).bytes(3 * MIB)
    assert checked(content, etag_of_parts(content, MIB)).check == "md5 of parts (1 MiB)"
    assert checked(content, etag_of_parts(content, len(content))).check == "md5 of parts (one)"


def test_a_guess_that_fails_is_no_fault():
    """Nobody knows the size of the parts for sure, so that another sum proves nothing."""
    content = bytes(3 * MIB)
    verdict = checked(content, "0" * 32 + "-3")
    assert (verdict.check, verdict.fault) == (LENGTH_AND_ETAG, "")


@given(st.integers(0, 10**13), st.integers(1, 10_000))
def test_guessed_sizes_make_so_many_parts(size, count):
    """Every guess is possible, none comes twice, and few are made."""
    guesses = part_sizes(size, count)
    assert len(set(guesses)) == len(guesses) <= 4
    assert all(-(-size // guess) == count for guess in guesses)


@given(st.integers(1, 10**12), st.sampled_from([8, 16]))
def test_the_usual_sizes_are_among_the_guesses(size, mib):
    """An upload by the AWS CLI, in parts of 8 or 16 MiB, is always among them."""
    part = mib * MIB
    assert part in part_sizes(size, -(-size // part)) or size <= part


# --- FITS ------------------------------------------------------------------------------------------------------------


@given(hdulists())
def test_sums_of_astropy_hold(hdus):
    """Whatever the kinds of HDUs, the sums that astropy writes are the ones that are found."""
    content = saved(*hdus[1:])
    verdict = checked(content)
    count = len(fits.open(io.BytesIO(content), disable_image_compression=True))
    assert verdict.check == f"FITS checksum ({count} of {count} HDUs)"
    assert verdict.fault == ""


@given(st.data())
def test_a_flipped_bit_of_data_is_found(data):
    """One bit in any data unit is a fault that names the HDU, as astropy finds it."""
    content = bytearray(
        saved(fits.ImageHDU(np.arange(900, dtype="i4"), name="SCI"), fits.ImageHDU(np.ones(9), name="ERR"))
    )
    with fits.open(io.BytesIO(bytes(content))) as hdul:
        number = data.draw(st.sampled_from([1, 2]))
        info = hdul[number].fileinfo()
        size = hdul[number].size
    at = info["datLoc"] + data.draw(st.integers(0, size - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    verdict = checked(bytes(content))
    assert verdict.fault.startswith(f"HDU {number} ({['SCI', 'ERR'][number - 1]}): expected DATASUM")
    assert not astropy_agrees(bytes(content))


def test_a_flipped_bit_of_a_header_is_found():
    """CHECKSUM covers the header too."""
    content = saved(fits.ImageHDU(np.arange(900, dtype="i4"), fits.Header({"OBSERVER": "Hubble"}), name="SCI"))
    broken = content.replace(b"Hubble", b"Hubbla")
    assert "HDU 1 (SCI): its CHECKSUM does not hold" in checked(broken).fault
    assert not astropy_agrees(broken)


def test_hdus_without_sums_are_counted():
    """The check tells how many HDUs it covers; a file without any has none."""
    plain = fits.ImageHDU(np.arange(10), name="PLAIN")
    content = saved(plain, checksum=False)
    assert checked(content).check == LENGTH_AND_ETAG
    summed = fits.ImageHDU(np.arange(10), name="SUMMED")
    summed.add_datasum()
    content = saved(plain, summed, checksum=False)
    assert checked(content).check == "FITS checksum (1 of 3 HDUs)"


def test_the_md5_comes_before_the_sums():
    """Bytes that are the object's are the right ones, whatever the archive wrote into them."""
    content = saved(fits.ImageHDU(np.arange(900)))
    broken = content[:-1] + b"\1"
    assert checked(broken).fault
    assert checked(broken, md5(broken).hexdigest()).check == "md5"
    assert checked(broken, md5(broken).hexdigest()).fault == ""


def test_real_files(shared_data):
    """Those are faulty that astropy finds faulty; of both kinds there are some.

    But for HDUs with a CHECKSUM and no DATASUM, as Kepler's and TESS's: astropy leaves their data out of the sum.
    """
    faults = []
    for path in sorted(shared_data.rglob("*.fits")):
        content = path.read_bytes()
        verdict = checked(content)
        if not verdict.of_content:
            continue
        with fits.open(path, disable_image_compression=True) as hdul:
            partial = any("CHECKSUM" in hdu.header and "DATASUM" not in hdu.header for hdu in hdul)
        faults.append(bool(verdict.fault))
        assert bool(verdict.fault) != (partial or astropy_agrees(content)), path
    assert set(faults) == {True, False}


@given(st.binary(max_size=9000), st.integers(0, 3))
def test_any_bytes_can_be_checked(data, blocks):
    """What is no FITS file, or a damaged one, has no check and no error."""
    content = (b"SIMPLE  =" + data)[: len(data)] + bytes(blocks * 2880)
    assert checked(content).check == LENGTH_AND_ETAG


def test_much_without_end_is_not_read():
    """Of a large file that is no FITS file, no more than its beginning is looked at."""
    asked = []

    def read(start, stop):
        asked.append(stop - start)
        return bytes(stop - start)

    assert check(read, 10**12, "opaque").check == LENGTH_AND_ETAG
    assert sum(asked) < 10**5


@given(st.lists(st.integers(0, 2**32 - 1)), st.integers(0, 9))
def test_the_sum_can_be_taken_in_steps(words, at):
    """Words may be added all at once or one after the other; zero has two forms."""
    data = np.array(words, ">u4").tobytes()
    at = min(at, len(words)) * 4
    whole, steps = ones_complement(data), ones_complement(data[at:], ones_complement(data[:at]))
    assert whole % 0xFFFFFFFF == steps % 0xFFFFFFFF == sum(words) % 0xFFFFFFFF


def test_what_a_header_tells():
    """Sums are texts in the header; an empty one says that there is none."""
    content = saved(fits.ImageHDU(np.arange(900)))
    assert fits_sums(content[:2880]) == (0, True)
    assert fits_sums(content[:2880].replace(b"CHECKSUM", b"CHECKSUN").replace(b"DATASUM", b"DATASUN")) == (None, False)
