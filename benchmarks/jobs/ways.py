"""Each job in each way, written as an astronomer who knows the way would write it.

The body of a function is what is counted and what is run; `measure` points the clients to the embedded archive from
outside, so that no line is spent on it. What the functions of a job return must be equal.
"""

from __future__ import annotations

KEYWORDS = [
    "TARGNAME",
    "DATE-OBS",
    "EXPTIME",
    "FILTER1",
    "FILTER2",
    "EXPSTART",
    "PROPOSID",
    "RA_TARG",
    "DEC_TARG",
    "CAL_VER",
]
"""Ten keywords of the primary header."""
ROWS, COLUMNS = slice(100, 200), slice(300, 400)
"""The box of the image."""
CENTER, SIZE = (350, 150), 100
"""The same box by its center, x and y."""


# --- Open a file that one can name, and look at a part of it ----------------------------------------------------------


def open_hst_cloud(uris):
    import hst_cloud as hst

    with hst.open(uris[0]) as hdul:
        return hdul["SCI", 1].section[ROWS, COLUMNS]


def open_astroquery(uris):
    from astropy.io import fits
    from astroquery.mast import Observations

    name = uris[0].rpartition("/")[2]
    Observations.download_file(uris[0], local_path=name)
    with fits.open(name) as hdul:
        return hdul["SCI", 1].section[ROWS, COLUMNS]


def open_astropy_s3fs(uris):
    from astropy.io import fits
    from astroquery.mast import Observations

    Observations.enable_cloud_dataset(verbose=False)
    uri = Observations.get_cloud_uris(uris[:1])[0]
    with fits.open(uri, use_fsspec=True, fsspec_kwargs={"anon": True}) as hdul:
        return hdul["SCI", 1].section[ROWS, COLUMNS]


def open_s3fs(uris):
    import s3fs
    from astropy.io import fits

    name = uris[0].rpartition("/")[2]
    path = f"stpubdata/hst/public/{name[:4]}/{name[:9]}/{name}"
    bucket = s3fs.S3FileSystem(anon=True)
    with bucket.open(path, block_size=2**20, cache_type="blockcache") as file, fits.open(file) as hdul:
        return hdul["SCI", 1].section[ROWS, COLUMNS]


# --- Ten keywords of many files --------------------------------------------------------------------------------------


def keywords_hst_cloud(uris):
    import hst_cloud as hst

    return hst.headers(uris, KEYWORDS)[KEYWORDS]


def keywords_astroquery(uris):
    from astropy.io import fits
    from astropy.table import Table
    from astroquery.mast import Observations

    rows = []
    for uri in uris:
        name = uri.rpartition("/")[2]
        Observations.download_file(uri, local_path=name)
        header = fits.getheader(name)
        rows.append([header[keyword] for keyword in KEYWORDS])
    return Table(rows=rows, names=KEYWORDS)


def keywords_astropy_s3fs(uris):
    from astropy.io import fits
    from astropy.table import Table
    from astroquery.mast import Observations

    Observations.enable_cloud_dataset(verbose=False)
    rows = []
    for uri in Observations.get_cloud_uris(uris):
        with fits.open(uri, use_fsspec=True, fsspec_kwargs={"anon": True}) as hdul:
            rows.append([hdul[0].header[keyword] for keyword in KEYWORDS])
    return Table(rows=rows, names=KEYWORDS)


def keywords_s3fs(uris):
    import s3fs
    from astropy.io import fits
    from astropy.table import Table

    names = [uri.rpartition("/")[2] for uri in uris]
    paths = [f"stpubdata/hst/public/{name[:4]}/{name[:9]}/{name}" for name in names]
    bucket = s3fs.S3FileSystem(anon=True)
    starts = bucket.cat_ranges(paths, [0] * len(paths), [64 * 1024] * len(paths))
    headers = [fits.Header.fromstring(start.partition(b"END" + b" " * 77)[0]) for start in starts]
    return Table(rows=[[header[keyword] for keyword in KEYWORDS] for header in headers], names=KEYWORDS)


# --- The same box of many images -------------------------------------------------------------------------------------


def cutouts_hst_cloud(uris):
    import hst_cloud as hst

    return hst.cutouts(uris, CENTER, SIZE)


def cutouts_astroquery(uris):
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS
    from astroquery.mast import Observations

    cuts = []
    for uri in uris:
        name = uri.rpartition("/")[2]
        Observations.download_file(uri, local_path=name)
        with fits.open(name) as hdul:
            wcs = WCS(hdul["SCI", 1].header, hdul)
            cuts.append(Cutout2D(hdul["SCI", 1].data, CENTER, SIZE, wcs=wcs, copy=True))
    return cuts


def cutouts_astropy_s3fs(uris):
    from astropy.io import fits
    from astropy.nddata import Cutout2D
    from astropy.wcs import WCS
    from astroquery.mast import Observations

    Observations.enable_cloud_dataset(verbose=False)
    cuts = []
    for uri in Observations.get_cloud_uris(uris):
        with fits.open(uri, use_fsspec=True, fsspec_kwargs={"anon": True}) as hdul:
            wcs = WCS(hdul["SCI", 1].header, hdul)
            cuts.append(Cutout2D(hdul["SCI", 1].section, CENTER, SIZE, wcs=wcs))
    return cuts


def cutouts_astrocut(uris):
    from astrocut import fits_cut
    from astropy.io import fits
    from astropy.wcs import WCS
    from astroquery.mast import Observations

    Observations.enable_cloud_dataset(verbose=False)
    paths = Observations.get_cloud_uris(uris)
    with fits.open(paths[0], use_fsspec=True, fsspec_kwargs={"anon": True}) as hdul:
        center = WCS(hdul["SCI", 1].header, hdul).pixel_to_world(*CENTER)
    cuts = fits_cut(paths, center, SIZE, extension=1, single_outfile=False, memory_only=True)
    return [cut[1] for cut in cuts]


# --- Spectra ---------------------------------------------------------------------------------------------------------


def spectra_hst_cloud(uris):
    import hst_cloud as hst

    return hst.spectra(uris)


def spectra_astroquery(uris):
    import numpy as np
    from astropy import units as u
    from astropy.io import fits
    from astropy.nddata import StdDevUncertainty
    from astroquery.mast import Observations
    from specutils import Spectrum, SpectrumList

    spectra = SpectrumList()
    for uri in uris:
        name = uri.rpartition("/")[2]
        Observations.download_file(uri, local_path=name)
        with fits.open(name) as hdul:
            for row in hdul[1].data:
                native = {k: np.array(row[k], dtype=float) for k in ("WAVELENGTH", "FLUX", "ERROR")}
                spectra.append(
                    Spectrum(
                        spectral_axis=native["WAVELENGTH"] * u.AA,
                        flux=native["FLUX"] * u.Unit("erg / (s cm2 AA)"),
                        uncertainty=StdDevUncertainty(native["ERROR"]),
                        mask=(row["DQ"] & hdul[1].header["SDQFLAGS"]) != 0,
                    )
                )
    return spectra


def spectra_astropy_s3fs(uris):
    import numpy as np
    from astropy import units as u
    from astropy.io import fits
    from astropy.nddata import StdDevUncertainty
    from astroquery.mast import Observations
    from specutils import Spectrum, SpectrumList

    Observations.enable_cloud_dataset(verbose=False)
    spectra = SpectrumList()
    for uri in Observations.get_cloud_uris(uris):
        with fits.open(uri, use_fsspec=True, fsspec_kwargs={"anon": True}) as hdul:
            for row in hdul[1].data:
                native = {k: np.array(row[k], dtype=float) for k in ("WAVELENGTH", "FLUX", "ERROR")}
                spectra.append(
                    Spectrum(
                        spectral_axis=native["WAVELENGTH"] * u.AA,
                        flux=native["FLUX"] * u.Unit("erg / (s cm2 AA)"),
                        uncertainty=StdDevUncertainty(native["ERROR"]),
                        mask=(row["DQ"] & hdul[1].header["SDQFLAGS"]) != 0,
                    )
                )
    return spectra


# --- Files to the disk, whole and intact -----------------------------------------------------------------------------


def download_hst_cloud(uris):
    import hst_cloud as hst

    return hst.download(uris, ".", layout="flat")


def download_astroquery(uris):
    from astroquery.mast import Observations

    for uri in uris:
        Observations.download_file(uri, local_path=uri.rpartition("/")[2])


def download_s3fs(uris):
    import s3fs

    names = [uri.rpartition("/")[2] for uri in uris]
    paths = [f"stpubdata/hst/public/{name[:4]}/{name[:9]}/{name}" for name in names]
    s3fs.S3FileSystem(anon=True).get(paths, ".")
