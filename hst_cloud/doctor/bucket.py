"""What is assumed of the public bucket.

Sources: https://registry.opendata.aws/hst/ (anonymous, us-east-1); Amazon S3 API Reference (GetObject, HeadBucket,
ListObjectsV2); the keys and their sources are in `hst_cloud.doctor.values`.
"""

from __future__ import annotations

from functools import partial

from astropy.io import fits

from hst_cloud.archive.references import REFERENCES
from hst_cloud.doctor.services import BLOCK, Services, ask, ask_object, bucket_of, list_some, sample
from hst_cloud.doctor.values import JITTER, KNOWN_KEYS, SUB_PRODUCT, Assumption, BrokenError, Known, UnaskedError
from hst_cloud.errors import AccessDeniedError, ObjectNotFoundError
from hst_cloud.settings import REGION
from hst_cloud.store.s3 import content_range
from hst_cloud.values import ByteRange

__all__ = ["BUCKET"]

_FIRST = ByteRange(0, BLOCK)
_HEADER = ByteRange(0, 22 * BLOCK)
"""Where INSTRUME is looked for: primary headers of ACS and WFC3 have some ten blocks."""


def _answers(services: Services) -> str:
    if services.bucket is None:
        services.store.listings([KNOWN_KEYS[0].visit])
        return f"{services.store!r} answers"
    try:
        reply = ask(services.bucket, method="HEAD")
    except UnaskedError as error:
        raise BrokenError(str(error)) from error
    return f"{services.bucket} answers HEAD with {reply}"


def _region(services: Services) -> str:
    reply = ask(bucket_of(services), method="HEAD")
    region = reply.headers.get("x-amz-bucket-region")
    if region != REGION:
        message = f"x-amz-bucket-region is {region or 'absent'} in an answer with {reply}, expected {REGION}"
        raise BrokenError(message)
    return f"x-amz-bucket-region is {region}"


def _lists(services: Services) -> str:
    found = services.store.listings([known.visit for known in KNOWN_KEYS])
    counts = ", ".join(f"{known.visit[-6:]} {len(keys)}" for known, keys in zip(KNOWN_KEYS, found, strict=True))
    if not any(found):
        message = f"no object is listed below any of the visits: {counts}"
        raise BrokenError(message)
    return f"objects listed by visit: {counts}"


def _pages(services: Services) -> str:
    bucket_of(services)
    visits = [known.visit for known in KNOWN_KEYS]
    found = zip(visits, services.store.listings(visits), strict=True)
    visit, objects = max(found, key=lambda one: len(one[1]))
    every = [one.key for one in objects]
    if len(every) < 2:
        message = f"no known visit lists two objects, so that no listing has a second page ({visit}: {len(every)})"
        raise UnaskedError(message)
    first, token = list_some(services, visit, most=1)
    if len(first) != 1 or not token:
        message = f"max-keys=1 gave {len(first)} of {len(every)} keys and {'a' if token else 'no'} token that leads on"
        raise BrokenError(message)
    second, _ = list_some(services, visit, most=1, token=token)
    if [one.key for one in first + second] != every[:2]:
        message = f"two pages gave {[one.key for one in first + second]}, the whole listing begins with {every[:2]}"
        raise BrokenError(message)
    return f"the second page of {visit} goes on where the first one ended"


def _missing(services: Services) -> str:
    key = f"{KNOWN_KEYS[-1].key.rpartition('/')[0]}/{KNOWN_KEYS[-1].obs_id}_none.fits"
    try:
        services.store.read(key, [_FIRST])
    except ObjectNotFoundError:
        return "a key that does not exist is answered as such (404)"
    except AccessDeniedError as error:
        raise BrokenError(str(error)) from error
    message = f"{services.store.address(key)} exists, although no such product is known"
    raise BrokenError(message)


def _public(services: Services) -> str:
    one = sample(services)
    if services.bucket is None:
        services.store.read(one.key, [_FIRST])
        return f"{one.key} may be read through {services.store!r}"
    reply = ask_object(services, one.key, {"Range": f"bytes=0-{BLOCK - 1}"})
    if reply.status not in {200, 206}:
        message = f"an unsigned request for {one.key} was answered with {reply}"
        raise BrokenError(message)
    return f"an unsigned request for {one.key} was answered with {reply}"


def _ranges(services: Services) -> str:
    one = sample(services)
    wanted = ByteRange(BLOCK, 2 * BLOCK)
    if services.bucket is None:
        [piece] = services.store.read(one.key, [wanted])
        return f"{len(piece.data)} bytes read from byte {BLOCK} of {one.key}"
    reply = ask_object(services, one.key, {"Range": f"bytes={wanted.start}-{wanted.stop - 1}"})
    told = reply.headers.get("Content-Range", "")
    if reply.status != 206 or content_range(told)[:2] != wanted or len(reply.body) != wanted.size:
        message = (
            f"bytes {wanted.start}-{wanted.stop - 1} of {one.key} were answered with {reply}, "
            f"Content-Range {told or 'absent'!r} and {len(reply.body)} bytes"
        )
        raise BrokenError(message)
    return f"HTTP 206 with Content-Range '{told}' and {len(reply.body)} bytes"


def _suffix_ranges(services: Services) -> str:
    one = sample(services)
    reply = ask_object(services, one.key, {"Range": f"bytes=-{BLOCK}"})
    told = reply.headers.get("Content-Range", "")
    start, stop, size = content_range(told)
    if reply.status != 206 or stop != size or stop - start != BLOCK or len(reply.body) != BLOCK:
        message = (
            f"the last {BLOCK} bytes of {one.key} were answered with {reply}, Content-Range {told or 'absent'!r} "
            f"and {len(reply.body)} bytes"
        )
        raise BrokenError(message)
    same = ask_object(services, one.key, {"Range": f"bytes={start}-{stop - 1}"})
    if same.body != reply.body:
        message = f"the last {BLOCK} bytes of {one.key} are others when they are asked for as {start}-{stop - 1}"
        raise BrokenError(message)
    return f"HTTP 206 with Content-Range '{told}'"


def _etags(services: Services) -> str:
    one = sample(services)
    if services.bucket is None:
        etag = services.store.read(one.key, [_FIRST])[0].etag
        if etag is None:
            message = f"{services.store!r} tells no version of {one.key}"
            raise BrokenError(message)
        return f"the version of {one.key} is {etag}"
    reply = ask_object(services, one.key, {"Range": f"bytes=0-{BLOCK - 1}"})
    told = reply.headers.get("ETag", "")
    if not (len(told) > 2 and told.startswith('"') and told.endswith('"')):
        message = f"{one.key} was answered with {reply} and the ETag {told or 'absent'}"
        raise BrokenError(message)
    return f"the ETag of {one.key} is {told}"


def _if_match(services: Services) -> str:
    one = sample(services)
    whole = {"Range": f"bytes=0-{BLOCK - 1}"}
    etag = ask_object(services, one.key, whole).headers.get("ETag", "")
    right = ask_object(services, one.key, whole | {"If-Match": etag})
    wrong = ask_object(services, one.key, whole | {"If-Match": f'"{"0" * 32}"'})
    seen = f"If-Match with the ETag is answered with {right}, with another one {wrong}"
    if (right.status, wrong.status) != (206, 412):
        message = f"{seen}; expected 206 and 412"
        raise BrokenError(message)
    return seen


def _totals(services: Services) -> str:
    one = sample(services)
    [piece] = services.store.read(one.key, [_FIRST])
    if (piece.size, piece.etag) != (one.size, one.etag):
        message = (
            f"{one.key} is listed with {one.size} bytes and ETag {one.etag}; "
            f"a range of it tells {piece.size} bytes and ETag {piece.etag}"
        )
        raise BrokenError(message)
    return f"{one.key}: {one.size} bytes and ETag {one.etag} from both"


def _known_key(known: Known, services: Services) -> str:
    [found] = services.store.listings([known.visit])
    listed = next((one for one in found if one.key == known.key), None)
    if listed is None:
        others = [one.key.removeprefix("hst/public/") for one in found if one.key.endswith(".fits")]
        message = f"{known.key} is not among the {len(found)} objects of its visit; FITS files there: "
        raise BrokenError(message + (", ".join(others[:5]) or "none"))
    [piece] = services.store.read(known.key, [_HEADER])
    if not piece.data.startswith(b"SIMPLE  ="):
        message = f"{known.key} ({listed.size} bytes) is no FITS file: it begins with {piece.data[:30]!r}"
        raise BrokenError(message)
    instrument = _keyword(piece.data, "INSTRUME")
    if instrument != known.instrument:
        message = f"{known.key} says INSTRUME={instrument!r}, expected {known.instrument!r}"
        raise BrokenError(message)
    return f"{known.key}: listed with {listed.size} bytes, FITS, INSTRUME={instrument}"


def _keyword(data: bytes, name: str) -> str:
    """Return a keyword of the first header, empty where it is not within `data`."""
    for start in range(0, len(data) - 79, 80):
        card = data[start : start + 80]
        if card.startswith(f"{name:8}=".encode()):
            return str(fits.Card.fromstring(card).value).strip()
        if card.rstrip() == b"END":
            break
    return ""


def _no_hap(services: Services) -> str:
    found, _ = list_some(services, "hap/", most=1)
    if found:
        message = f"the bucket lists {found[0].key}"
        raise BrokenError(message)
    return "nothing is listed below hap/"


def _references(services: Services) -> str:
    found, more = list_some(services, REFERENCES, most=5)
    names = [one.key.removeprefix(REFERENCES) for one in found]
    if not any(names):
        message = f"nothing is listed below {REFERENCES}"
        raise BrokenError(message)
    return f"{REFERENCES} lists {', '.join(n for n in names if n)}{' and more' if more else ''}"


def _key(known: Known) -> Assumption:
    return Assumption(
        name=f"key-{known.instrument.lower()}",
        of="bucket",
        statement=f"The key of {known.filename} ({known.instrument}) is the one that the rule makes of its name: "
        f"{known.key}.",
        breaks=f"Opening and resolving {known.instrument} products by rule, if no other file of the visit lies where "
        "its name says either. hst_cloud.open(..., source='mast') reads them from MAST meanwhile.",
        probe=partial(_known_key, known),
        after=("ranges",),
    )


BUCKET: tuple[Assumption, ...] = (
    Assumption(
        name="bucket-answers",
        of="bucket",
        statement="The bucket can be reached from here.",
        breaks="Opening, and resolving with verify=True. Check the connection, proxies and firewalls: none is used "
        "that the environment names.",
        probe=_answers,
        after=("address",),
    ),
    Assumption(
        name="bucket-lists",
        of="bucket",
        statement="Anybody may list the bucket: an unsigned ListObjectsV2 of a visit names its objects.",
        breaks="hst_cloud.resolve(..., verify=True), the places of jitter files, and telling a missing object from a "
        "forbidden one. Keys by rule and opening still work.",
        probe=_lists,
        after=("bucket-answers",),
    ),
    Assumption(
        name="bucket-public",
        of="bucket",
        statement="Anybody may read the bucket: an unsigned GetObject is answered.",
        breaks="Opening anything from the bucket without credentials. Pass a store that has some: "
        "store=s3fs.S3FileSystem(...).",
        probe=_public,
        after=("bucket-lists",),
    ),
    Assumption(
        name="ranges",
        of="bucket",
        statement="A range is answered with 206, those bytes, and a Content-Range that says which they are.",
        breaks="Lazy opening: every read is refused as wrong bytes. Something between here and the bucket may cache "
        "or rewrite answers.",
        probe=_ranges,
        after=("bucket-public",),
    ),
    *(_key(known) for known in KNOWN_KEYS),
    Assumption(
        name="key-sub-product",
        of="bucket",
        statement=f"A product within an association lies in the association's folder: {SUB_PRODUCT.key}.",
        breaks="Opening and resolving by rule of products whose rootname ends in 1-9 or a-e.",
        probe=partial(_known_key, SUB_PRODUCT),
        after=("ranges",),
    ),
    Assumption(
        name="key-jitter",
        of="bucket",
        statement=f"A jitter file of one exposure lies in the exposure's folder: {JITTER.key}.",
        breaks="hst_cloud.resolve(..., verify=True) of jitter files by name. Seen for WFPC2 alone, of which the bucket "
        "promises nothing: look at a visit of the instrument in question.",
        probe=partial(_known_key, JITTER),
        after=("ranges",),
    ),
    Assumption(
        name="suffix-ranges",
        of="bucket",
        statement="A suffix range (bytes=-2880) is answered with the object's last bytes.",
        breaks="Reading the end of an object without knowing its size; obstore and fsspec do so, this package's own "
        "engine does not.",
        probe=_suffix_ranges,
        after=("ranges",),
    ),
    Assumption(
        name="etags",
        of="bucket",
        statement="Every answer carries a strong ETag.",
        breaks="Noticing that an object was replaced while it was being read: bytes of two versions could mix.",
        probe=_etags,
        after=("ranges",),
    ),
    Assumption(
        name="if-match",
        of="bucket",
        statement="If-Match is honored: 206 with the object's ETag, 412 with another one.",
        breaks="The refusal of a replaced object before its bytes are sent. ETags of answers are compared all the "
        "same, so that bytes of two versions still do not mix.",
        probe=_if_match,
        after=("etags",),
    ),
    Assumption(
        name="totals",
        of="bucket",
        statement="The size and the ETag that a ranged answer tells are those of the listing.",
        breaks="Reading products that were resolved with verify=True: they look replaced, or are cut short.",
        probe=_totals,
        after=("etags",),
    ),
    Assumption(
        name="bucket-pages",
        of="bucket",
        statement="A listing that is longer than a page goes on from its continuation token.",
        breaks="hst_cloud.resolve(..., verify=True) of visits with more than 1,000 objects.",
        probe=_pages,
        after=("bucket-lists",),
    ),
    Assumption(
        name="bucket-missing",
        of="bucket",
        statement="A key that does not exist is answered with 404, not with 403.",
        breaks="The difference between ObjectNotFoundError and AccessDeniedError.",
        probe=_missing,
        after=("bucket-public",),
    ),
    Assumption(
        name="bucket-region",
        of="bucket",
        statement=f"The bucket is in {REGION}.",
        breaks="The default address of the bucket, the advice where to run, and estimates of time and cost.",
        probe=_region,
        after=("bucket-answers",),
    ),
    Assumption(
        name="no-hap",
        of="bucket",
        statement="Hubble Advanced Products are not in the bucket: nothing lies below hap/.",
        breaks="Nothing that works; they are called not_mirrored although they could be read.",
        probe=_no_hap,
        after=("bucket-lists",),
    ),
    Assumption(
        name="references",
        of="bucket",
        statement=f"Calibration reference files lie below {REFERENCES}.",
        breaks="hst_cloud.references, and hst_cloud.download(..., references=...), which gets them from CRDS with "
        "source='crds'. Only the source code of grizli tells this place.",
        probe=_references,
        after=("bucket-lists",),
    ),
)
