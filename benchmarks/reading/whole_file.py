"""The peers' ways to have all of one large file as arrays: a downloader, then astropy.

What is downloaded goes to a folder in memory, which is quicker than any disk and does not count as memory of the
process.
"""

from __future__ import annotations

from benchmarks.reading import peers
from benchmarks.reading.many_files import s5cmd, s5cmd_program
from benchmarks.reading.peers import MIB
from benchmarks.reading.values import Ready, Setting, as_is
from hst_cloud.settings import BUCKET, REGION


def boto3(setting: Setting) -> Ready:
    """Download with boto3, whose transfers are s3transfer's; with 24 connections instead of 10 it took no less."""
    from boto3.s3.transfer import TransferConfig

    client = peers.boto3_session(setting, 10)
    config = TransferConfig(multipart_chunksize=8 * MIB, max_concurrency=10)
    path = setting.scratch / "whole.fits"

    def run(files):
        client.download_file(BUCKET, files[0].key, str(path), Config=config)
        return peers.images(path)

    return Ready(run, as_is, lambda: path.unlink(missing_ok=True))


def crt(setting: Setting) -> Ready:
    """Download with AWS's own client in C, the Common Runtime; into a buffer of Python's it took twice as long."""
    from awscrt.http import HttpHeaders, HttpRequest
    from awscrt.io import ClientBootstrap, DefaultHostResolver, EventLoopGroup
    from awscrt.s3 import S3Client, S3RequestTlsMode, S3RequestType

    group = EventLoopGroup()
    client = S3Client(
        bootstrap=ClientBootstrap(group, DefaultHostResolver(group)),
        region=REGION,
        tls_mode=S3RequestTlsMode.DISABLED,
        part_size=8 * MIB,
        throughput_target_gbps=8,
    )
    host = setting.root.removeprefix("http://")
    path = setting.scratch / "whole.fits"

    def run(files):
        request = HttpRequest("GET", f"/{BUCKET}/{files[0].key}", HttpHeaders([("Host", host)]))
        kind = S3RequestType.GET_OBJECT
        client.make_request(type=kind, request=request, recv_filepath=str(path)).finished_future.result()
        return peers.images(path)

    return Ready(run, as_is, lambda: path.unlink(missing_ok=True))


def s5cmd_whole(setting: Setting) -> Ready:
    """Download with s5cmd, in parts."""
    program, path = s5cmd_program(), setting.scratch / "whole.fits"

    def run(files):
        s5cmd(
            program,
            setting,
            ["cp", "--concurrency", "24", "--part-size", "8", f"s3://{BUCKET}/{files[0].key}", str(path)],
        )
        return peers.images(path)

    return Ready(run, as_is, lambda: path.unlink(missing_ok=True))
