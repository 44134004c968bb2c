"""Shards behind URLs, over the wire: nginx, aiohttp, servers without ranges or that fail, and S3 (moto)."""

import functools
import http.server
import os
import threading
import tracemalloc

import pytest
from aiohttp import web

from tests.pictures import plain
from tests.pools import ingest
from tests.tars import write_tar
from winnow.config.datasets import Dataset
from winnow.ingest.example import Unreadable
from winnow.sources import webdataset
from winnow.sources.formats import remote


def test_shards_from_nginx_by_range_listing_and_braces(nginx, folder, facts):
    url, home = nginx
    local = facts(str(folder))
    assert len(local) == 24
    assert local[2][4] == f"{2:032x}"  # the parquet's uid
    assert facts(url + "/dir/") == local
    assert facts(url + "/dir/shards-{000000..000003}.tar") == local
    log = (home / "access.log").read_text()
    assert " 206 " in log  # nginx gave byte ranges


def test_a_server_with_ranges_gives_the_same(serve, files_of, folder, facts):
    url = serve(files_of(folder))
    assert facts(url + "/shards-{000000..000003}.tar") == facts(str(folder))


@pytest.mark.slow
def test_a_server_without_ranges_gives_the_same(folder, facts):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert facts(url + "/shards-{000001..000003}.tar") == facts(str(folder))[6:]
    finally:
        server.shutdown()
        server.server_close()


def breaking(folder, failures, requested):
    """A handler of ranges; each of the first `failures` responses with a body breaks off in the middle."""

    async def handler(request):
        path = folder / request.match_info["name"]
        if request.method == "HEAD" or not path.is_file():
            return web.FileResponse(path) if path.is_file() else web.Response(status=404)
        data = path.read_bytes()
        span = request.http_range
        start, stop = span.start or 0, min(span.stop or len(data), len(data))
        requested.append(start)
        headers = {
            "Content-Range": f"bytes {start}-{stop - 1}/{len(data)}",
            "Content-Length": str(stop - start),
        }
        answer = web.StreamResponse(status=206, headers=headers)
        await answer.prepare(request)
        if len(requested) <= failures:
            await answer.write(data[start : start + (stop - start) // 2])
            request.transport.abort()
            return answer
        await answer.write(data[start:stop])
        await answer.write_eof()
        return answer

    return handler


@pytest.fixture
def impatient(monkeypatch):
    """Short waits, and blocks so small that a shard of 60 kB has many."""
    monkeypatch.setattr(remote, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(remote, "BLOCK_BYTES", 10_000)


def test_a_broken_connection_is_resumed_where_it_stopped(serve, folder, facts, impatient):
    requested = []
    url = serve(breaking(folder, 2, requested))
    assert facts(url + "/shards-000002.tar") == facts(str(folder / "shards-000002.tar"))
    assert requested.count(0) <= 3  # two broken, one complete: what was read is not requested again
    assert requested[3:] == sorted(requested[3:])


def test_a_connection_that_stays_broken_loses_the_rest_of_one_shard(serve, files_of, folder, read, impatient):
    served = files_of(folder)

    async def handler(request):
        name = request.match_info["name"]
        start = request.http_range.start or 0
        if name == "shards-000001.tar" and start > 15_000:
            return web.Response(status=503)
        return await served(request)

    found = read(serve(handler) + "/shards-{000000..000002}.tar")
    lost = [e for e in found if isinstance(e, Unreadable)]
    assert [e.reason for e in lost] == ["unreachable_shard_shards-000001.tar"]
    keys = [e.key for e in found if not isinstance(e, Unreadable)]
    last = [key for key in keys if key.startswith("shards-000002")]
    assert last == [f"shards-000002/00002{i:04d}" for i in range(6)]
    assert 0 < sum(key.startswith("shards-000001") for key in keys) < 6


def test_missing_shards_and_dead_servers_are_counted_once_each(
    serve, files_of, folder, read, free_port, impatient
):
    url = serve(files_of(folder))
    found = read(url + "/shards-{000003..000004}.tar")
    assert [getattr(e, "reason", None) for e in found] == [None] * 6 + ["unreachable_shard_shards-000004.tar"]
    assert [e.reason for e in read(f"http://127.0.0.1:{free_port()}/a.tar")] == ["unreachable_shard_a.tar"]


def test_a_shard_that_changes_meanwhile_is_not_mixed(serve, folder, read, impatient):
    served, changed = breaking(folder, 0, []), []

    async def handler(request):
        start = request.http_range.start or 0
        if start > 15_000 and not changed:
            changed.append(start)
            write_tar(folder / "shards-000001.tar", ("x.jpg", b"other" * 9000))
            return web.Response(status=503)
        return await served(request)

    found = read(serve(handler) + "/shards-000001.tar")
    assert found[-1].reason == "unreachable_shard_shards-000001.tar"


def test_lint_reads_behind_a_url(serve, files_of, folder):
    from winnow.lint.lint import lint

    path = folder / "shards-000002.tar"
    path.write_bytes(path.read_bytes()[:5000])
    report = lint(serve(files_of(folder)) + "/shards-{000000..000003}.tar")
    assert dict(report.counts) == {"damaged_shard_shards-000002.tar": 1}
    # of the cut shard only one picture is complete: a member of 3,000 bytes takes 3,584
    assert report.good == 19


@pytest.fixture
def s3(folder, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="bucket")
    for path in folder.iterdir():
        client.upload_file(str(path), "bucket", f"some/prefix/{path.name}")
    yield endpoint
    server.stop()


@pytest.mark.slow
def test_shards_from_s3(s3, folder, read, facts, monkeypatch):
    local = facts(str(folder))
    assert facts("s3://bucket/some/prefix/", storage={"endpoint_url": s3}) == local
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    assert facts("s3://bucket/some/prefix/shards-{000000..000003}.tar") == local
    found = read("s3://bucket/some/prefix/shards-{000003..000004}.tar")
    assert [getattr(e, "reason", None) for e in found] == [None] * 6 + ["unreachable_shard_shards-000004.tar"]


def test_a_pool_from_a_url_is_that_of_the_same_files(serve, files_of, folder, tmp_path):
    """Through the whole of ingest, with a shard that is truncated and one that is missing."""
    for shard in range(2):
        rows = [(f"{shard:05d}{n:04d}.png", plain(16 * n + shard)) for n in range(8)]
        path = write_tar(folder / f"real-{shard:06d}.tar", *rows)
    path.write_bytes(path.read_bytes()[:3000])
    url = serve(files_of(folder))
    near, _ = ingest(tmp_path / "near", Dataset("webdataset", path=f"{folder}/real-{{000000..000001}}.tar"))
    far, _ = ingest(tmp_path / "far", Dataset("webdataset", path=f"{url}/real-{{000000..000002}}.tar"))
    shards = [tmp_path / name / "shards/shards-000000.tar" for name in ("near", "far")]
    assert shards[0].read_bytes() == shards[1].read_bytes()
    assert far["dropped_unreachable_shard_real-000002.tar"] == 1
    assert [counts["dropped_damaged_shard_real-000001.tar"] for counts in (near, far)] == [1, 1]


def test_memory_holds_a_block_and_a_member_not_a_shard(serve, files_of, folder):
    picture = os.urandom(1_000_000)
    write_tar(folder / "large.tar", *[(f"{i}.jpg", picture) for i in range(60)])
    path = serve(files_of(folder)) + "/large.tar"
    tracemalloc.start()
    try:
        count = sum(1 for _ in webdataset.read(Dataset("webdataset", path=path)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60
    # two blocks of 4 MiB, joined and cut, in the reader; the server lives in this process too
    assert peak < 25_000_000
