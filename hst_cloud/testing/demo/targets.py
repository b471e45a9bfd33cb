"""What the demonstration observes: programs, targets and exposures, all of them invented but for the places on the sky.

The rootnames obey the archive's grammar; their programs' letters ``zdm`` lie beyond those that have been given out.
Coordinates: SIMBAD, ICRS, rounded.
"""

from __future__ import annotations

from dataclasses import replace

from hst_cloud.testing.demo.exposures import Exposure, Program, Target

__all__ = [
    "CLUSTER_IR",
    "CLUSTER_IR_FIRST",
    "CLUSTER_UVIS",
    "CLUSTER_UVIS_FIRST",
    "CROWDED",
    "DOUBLE",
    "GRISMS",
    "NUCLEUS",
    "NUCLEUS_FIRST",
    "SPIRAL",
    "SPIRAL_FIRST",
    "SPIRAL_FIVE",
    "SPIRAL_SINGLE",
    "STANDARD_CCD",
    "STANDARD_ECHELLE",
]

_SPIRAL = Target(name="M51", ra=202.469575, dec=47.195258, description="GALAXY;SPIRAL")
_CLUSTER = Target(name="NGC3603", ra=168.777083, dec=-61.261111, description="OPEN CLUSTER;YOUNG")
_NUCLEUS = Target(name="NGC4151", ra=182.635745, dec=39.405730, description="GALAXY;SEYFERT")
_STANDARD = Target(name="G191B2B", ra=76.377552, dec=52.831077, description="STAR;DA")
_DOUBLE = Target(name="GJ748", ra=288.057833, dec=2.884444, description="STAR;DOUBLE STAR;M V-IV")

_GLOBULAR = Target(name="NGC104", ra=6.023625, dec=-72.081283, description="STELLAR CLUSTER;GLOBULAR CLUSTER")
_DEEP = Target(name="HUDF", ra=53.162500, dec=-27.791389, description="GALAXY;BLANK SKY")


def _program(number: int, last: str, first: str, title: str) -> Program:
    return Program(number=number, investigator=(last, first, ""), title=title)


_A = _program(99101, "Rosse", "William", "Demonstration: the arms of a spiral galaxy")
_B = _program(99102, "Herschel", "John", "Demonstration: a young cluster and its nebula")
_C = _program(99103, "Seyfert", "Carl", "Demonstration: broad lines of an active nucleus")
_D = _program(99104, "Greenstein", "Jesse", "Demonstration: a hot white dwarf as a standard")
_E = _program(99105, "Herschel", "William", "Demonstration: the orbit of a close double star")
_F = _program(99106, "Shapley", "Harlow", "Demonstration: motions in a crowded field")
_G = _program(99107, "Fleming", "Williamina", "Demonstration: spectra without slits")

SPIRAL_FIRST = Exposure(
    rootname="jzdm01aaq", instrument="ACS", detector="WFC", target=_SPIRAL, program=_A, start=60310.25, seconds=360.0,
    elements=("CLEAR1L", "F814W"), aperture="WFC", association="jzdm01010", role="EXP-DTH", angle=27.4,
    dither=(-0.9, -2.1),
)  # fmt: skip
_SPIRAL_SECOND = replace(SPIRAL_FIRST, rootname="jzdm01acq", start=60310.2575, dither=(1.1, 2.2))
SPIRAL = replace(
    SPIRAL_FIRST, rootname="jzdm01010", role="PROD-DTH", dither=(0.0, 0.0), seconds=720.0,
    members=(SPIRAL_FIRST, _SPIRAL_SECOND),
)  # fmt: skip
SPIRAL_SINGLE = replace(
    SPIRAL_FIRST, rootname="jzdm02c1q", start=60312.125, seconds=180.0, elements=("F606W", "CLEAR2L"),
    association="NONE", role="", dither=(0.3, 0.2),
)  # fmt: skip
SPIRAL_FIVE = replace(
    SPIRAL, rootname="jbeveo010", association="jbeveo010", seconds=1800.0,
    members=tuple(replace(SPIRAL_FIRST, rootname=f"jbeveo{n}1q", dither=(n - 2.0, 2 * n - 4.0)) for n in range(5)),
)  # fmt: skip

CLUSTER_UVIS_FIRST = Exposure(
    rootname="izdm01aaq", instrument="WFC3", detector="UVIS", target=_CLUSTER, program=_B, start=60311.5,
    seconds=300.0, elements=("F555W",), aperture="UVIS", association="izdm01010", role="EXP-DTH", angle=-41.0,
    dither=(-0.8, -1.7),
)  # fmt: skip
CLUSTER_UVIS = replace(
    CLUSTER_UVIS_FIRST, rootname="izdm01010", role="PROD-DTH", dither=(0.0, 0.0), seconds=600.0,
    members=(CLUSTER_UVIS_FIRST, replace(CLUSTER_UVIS_FIRST, rootname="izdm01acq", start=60311.507, dither=(0.8, 1.9))),
)  # fmt: skip

CLUSTER_IR_FIRST = Exposure(
    rootname="izdm02a1q", instrument="WFC3", detector="IR", target=_CLUSTER, program=_B, start=60311.56,
    seconds=199.23, elements=("F110W",), aperture="IR", association="izdm02010", role="EXP-DTH", angle=-41.0,
    dither=(-0.6, -0.4),
)  # fmt: skip
CLUSTER_IR = replace(
    CLUSTER_IR_FIRST, rootname="izdm02010", role="PROD-DTH", dither=(0.0, 0.0), seconds=398.46,
    members=(CLUSTER_IR_FIRST, replace(CLUSTER_IR_FIRST, rootname="izdm02a3q", start=60311.564, dither=(0.6, 0.7))),
)  # fmt: skip

NUCLEUS_FIRST = Exposure(
    rootname="lzdm01e1q", instrument="COS", detector="FUV", target=_NUCLEUS, program=_C, start=60315.1,
    seconds=1880.2, elements=("G130M",), cenwave=1291, aperture="PSA", association="lzdm01010", role="EXP-FP",
    angle=54.6,
)  # fmt: skip
NUCLEUS = replace(
    NUCLEUS_FIRST, rootname="lzdm01010", role="PROD-FP", seconds=3760.4,
    members=(NUCLEUS_FIRST, replace(NUCLEUS_FIRST, rootname="lzdm01e3q", start=60315.17)),
)  # fmt: skip

STANDARD_ECHELLE = Exposure(
    rootname="ozdm01010", instrument="STIS", detector="NUV-MAMA", target=_STANDARD, program=_D, start=60320.8,
    seconds=628.0, elements=("E230M",), cenwave=1978, aperture="0.2X0.2", association="ozdm01010", role="SCIENCE",
    angle=-152.7,
)  # fmt: skip
STANDARD_CCD = Exposure(
    rootname="ozdm01020", instrument="STIS", detector="CCD", target=_STANDARD, program=_D, start=60320.84,
    seconds=120.0, elements=("G430L",), cenwave=4300, aperture="52X2", association="ozdm01020", role="CRSPLIT",
    angle=-152.7,
)  # fmt: skip

DOUBLE = Exposure(
    rootname="fzdm0101m", instrument="FGS", detector="1", target=_DOUBLE, program=_E, start=60330.3, seconds=2242.2,
    elements=("F583W",), aperture="FGS1", angle=144.5,
)  # fmt: skip

# Two epochs of one field, at different angles; the stars stay where they are.
_CROWDED_FIRST = Exposure(
    rootname="jzdm06a1q", instrument="ACS", detector="WFC", target=_GLOBULAR, program=_F, start=53807.4, seconds=339.0,
    elements=("F606W", "CLEAR2L"), aperture="WFC", angle=112.0,
)  # fmt: skip
CROWDED = (
    _CROWDED_FIRST,
    replace(_CROWDED_FIRST, rootname="jzdm07a1q", start=60325.9, angle=147.0, dither=(2.5, -1.2)),
)

# A direct image before the exposures through each grism; what the latter show is as invented as their spectra.
_DIRECT = Exposure(
    rootname="izdm08a1q", instrument="WFC3", detector="IR", target=_DEEP, program=_G, start=60340.10, seconds=202.93,
    elements=("F140W",), aperture="IR", angle=65.0,
)  # fmt: skip
_DISPERSED = replace(_DIRECT, rootname="izdm08a2q", start=60340.104, seconds=1102.94, elements=("G141",))
GRISMS = (
    _DIRECT,
    _DISPERSED,
    replace(_DISPERSED, rootname="izdm08a3q", start=60340.118, dither=(0.5, 0.4)),
    replace(_DIRECT, rootname="izdm08a5q", start=60340.166, elements=("F105W",)),
    replace(_DISPERSED, rootname="izdm08a6q", start=60340.17, elements=("G102",)),
)
