"""Shards behind URLs, over the wire: nginx, an aiohttp server, one without byte ranges, one that fails, and S3 (moto)."""

import asyncio
import functools
import http.server
import io
import os
import shutil
import socket
import subprocess
import tarfile
import threading
import time
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web
from PIL import Image

from stages.ingest import ingest_source
from stages.params import Dataset, ParamsError
from stages.sources import _remote, webdataset
from stages.sources._lost import Lost


def tar(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def blob(number, size=3000):
    return bytes([number % 251]) * size


@pytest.fixture
def folder(tmp_path):
    """Four shards of six pictures; the first has its parquet, as img2dataset leaves it."""
    root = tmp_path / "dir"
    root.mkdir()
    for shard in range(4):
        members = [(f"{shard:05d}{i:04d}.{ext}", blob(i) if ext == "jpg" else b"hi") for i in range(6) for ext in ("jpg", "txt")]
        tar(root / f"shards-{shard:06d}.tar", *members)
    rows = [{"key": f"00000{i:04d}", "uid": f"{i:032x}", "status": "success"} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), root / "shards-000000.parquet")
    return root


def read(path, **options):
    return list(webdataset.read(Dataset(source="webdataset", path=path, options=options)))


def facts(examples):
    return [(e.key, e.image, e.caption, e.split, e.uid, getattr(e, "reason", None)) for e in examples]


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def nginx(tmp_path, folder):
    if not (shutil.which("nginx") or os.path.exists("/usr/sbin/nginx")):
        pytest.skip("nginx is not installed")
    port, home = free_port(), tmp_path / "nginx"
    home.mkdir()
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (home / "nginx.conf").write_text(
        f"daemon off; error_log {home}/error.log; pid {home}/pid; {'user root;' if os.getuid() == 0 else ''}"
        f"events {{}} http {{ access_log {home}/access.log; {paths}"
        f"server {{ listen 127.0.0.1:{port}; root {folder.parent}; autoindex on; }} }}"
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([binary, "-c", str(home / "nginx.conf"), "-p", str(home)], stderr=subprocess.DEVNULL)
    wait_for(port)
    yield f"http://127.0.0.1:{port}", home
    process.terminate()
    process.wait()


def wait_for(port):
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture
def serve():
    """A function: an aiohttp handler for GET /NAME, served from a thread of its own; gives the URL."""
    loops = []

    def start(handler):
        loop, ready, runners = asyncio.new_event_loop(), threading.Event(), []
        port = free_port()

        async def run():
            app = web.Application()
            app.router.add_get("/{name:.*}", handler)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", port).start()
            ready.set()

        thread = threading.Thread(target=lambda: (loop.run_until_complete(run()), loop.run_forever()), daemon=True)
        thread.start()
        ready.wait(10)
        loops.append((loop, thread, runners))
        return f"http://127.0.0.1:{port}"

    yield start
    for loop, thread, runners in loops:
        asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def files_of(folder):
    async def handler(request):
        path = folder / request.match_info["name"]
        return web.FileResponse(path) if path.is_file() else web.Response(status=404)

    return handler


def test_shards_from_nginx_by_range_listing_and_braces(nginx, folder):
    url, home = nginx
    local = facts(read(str(folder)))
    assert len(local) == 24
    assert local[2][4] == f"{2:032x}"  # the parquet's uid
    assert facts(read(url + "/dir/")) == local
    assert facts(read(url + "/dir/shards-{000000..000003}.tar")) == local
    log = (home / "access.log").read_text()
    assert " 206 " in log  # nginx gave byte ranges


def test_a_server_with_ranges_gives_the_same(serve, folder):
    url = serve(files_of(folder))
    assert facts(read(url + "/shards-{000000..000003}.tar")) == facts(read(str(folder)))


def test_a_server_without_ranges_gives_the_same(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        assert facts(read(url + "/shards-{000001..000003}.tar")) == facts(read(str(folder)))[6:]
    finally:
        server.shutdown()
        server.server_close()


def breaking(folder, failures, asked):
    """Answers ranges; each of the first `failures` answers with a body breaks off in the middle."""

    async def handler(request):
        path = folder / request.match_info["name"]
        if request.method == "HEAD" or not path.is_file():
            return web.FileResponse(path) if path.is_file() else web.Response(status=404)
        data = path.read_bytes()
        span = request.http_range
        start, stop = span.start or 0, min(span.stop or len(data), len(data))
        asked.append(start)
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}", "Content-Length": str(stop - start)}
        answer = web.StreamResponse(status=206, headers=headers)
        await answer.prepare(request)
        if len(asked) <= failures:
            await answer.write(data[start : start + (stop - start) // 2])
            request.transport.abort()
            return answer
        await answer.write(data[start:stop])
        await answer.write_eof()
        return answer

    return handler


@pytest.fixture
def impatient(monkeypatch):
    """Waits of a test's length, and blocks so small that a shard of 60 kB has many."""
    monkeypatch.setattr(_remote, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(_remote, "BLOCK_BYTES", 10_000)


def test_a_broken_connection_is_taken_up_where_it_stopped(serve, folder, impatient):
    asked = []
    url = serve(breaking(folder, 2, asked))
    assert facts(read(url + "/shards-000002.tar")) == facts(read(str(folder / "shards-000002.tar")))
    assert asked.count(0) <= 3  # two broken, one whole: what was read is not asked for again
    assert asked[3:] == sorted(asked[3:])


def test_a_connection_that_stays_broken_loses_the_rest_of_one_shard(serve, folder, impatient):
    served = files_of(folder)

    async def handler(request):
        name = request.match_info["name"]
        start = request.http_range.start or 0
        if name == "shards-000001.tar" and start > 15_000:
            return web.Response(status=503)
        return await served(request)

    found = read(serve(handler) + "/shards-{000000..000002}.tar")
    lost = [e for e in found if isinstance(e, Lost)]
    assert [e.reason for e in lost] == ["unreachable_shard_shards-000001.tar"]
    keys = [e.key for e in found if not isinstance(e, Lost)]
    assert [key for key in keys if key.startswith("shards-000002")] == [f"shards-000002/00002{i:04d}" for i in range(6)]
    assert 0 < sum(key.startswith("shards-000001") for key in keys) < 6


def test_missing_shards_and_dead_servers_are_counted_once_each(serve, folder, impatient):
    url = serve(files_of(folder))
    found = read(url + "/shards-{000003..000004}.tar")
    assert [getattr(e, "reason", None) for e in found] == [None] * 6 + ["unreachable_shard_shards-000004.tar"]
    assert [e.reason for e in read(f"http://127.0.0.1:{free_port()}/a.tar")] == ["unreachable_shard_a.tar"]


def test_a_shard_that_changes_meanwhile_is_not_mixed(serve, folder, impatient):
    served, asked = breaking(folder, 0, []), []

    async def handler(request):
        start = request.http_range.start or 0
        if start > 15_000 and not asked:
            asked.append(start)
            tar(folder / "shards-000001.tar", ("x.jpg", b"other" * 9000))
            return web.Response(status=503)
        return await served(request)

    found = read(serve(handler) + "/shards-000001.tar")
    assert found[-1].reason == "unreachable_shard_shards-000001.tar"


def test_lint_looks_behind_a_url(serve, folder):
    from stages.lint import lint

    (folder / "shards-000002.tar").write_bytes((folder / "shards-000002.tar").read_bytes()[:5000])
    report = lint(serve(files_of(folder)) + "/shards-{000000..000003}.tar")
    assert dict(report.counts) == {"damaged_shard_shards-000002.tar": 1}
    assert report.good == 19  # of the cut shard only one picture is whole: a member of 3,000 bytes takes 3,584


def test_a_list_of_urls(serve, folder, tmp_path):
    url = serve(files_of(folder))
    listed = f"# ours\n{url}/shards-000001.tar\n\ndir/shards-{{000002..000003}}.tar\n"
    (tmp_path / "list.txt").write_text(listed)
    assert facts(read(str(tmp_path / "list.txt"))) == facts(read(str(folder)))[6:]
    (folder / "list.txt").write_text("shards-000001.tar\n")  # relative to a list that is itself far away
    assert facts(read(url + "/list.txt")) == facts(read(str(folder)))[6:12]


def test_equal_names_in_two_folders_keep_their_keys_apart(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tar(tmp_path / name / "00000.tar", ("0.jpg", b"x"))
    assert [e.key for e in read(str(tmp_path / "{one,two}" / "00000.tar"))] == ["one/00000/0", "two/00000/0"]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("TMP/a-{0..9.tar", "has a brace that is not closed"),
        ("TMP/a-{0..1000001}.tar", "means more than 1,000,000 shards"),
        ("TMP/a-{0..1}.tar", "a-0.tar' is not there"),
        ("TMP/twice.txt", "dir/shards-000000.tar' is named twice"),
        ("http://127.0.0.1:1/dir/", "lists no .tar shard .*ClientConnectorError.*; give a folder that can be listed"),
        ("nonsense://host/a/", "lists no .tar shard"),
    ],
)
def test_a_wrong_place_is_one_line(tmp_path, folder, path, says):
    (tmp_path / "twice.txt").write_text("dir/shards-000000.tar\ndir/shards-000000.tar\n")
    with pytest.raises(ParamsError, match=says) as caught:
        read(path.replace("TMP", str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_labels_far_away_need_their_names(serve, folder):
    tar(folder / "labels.tar", ("0.jpg", b"x"), ("0.cls", b"1"))
    url = serve(files_of(folder))
    with pytest.raises(ParamsError, match="labels.tar has labels; put classes.json, a list of their names, beside it"):
        read(url + "/labels.tar")
    (folder / "classes.json").write_text('["cat", "dog"]')
    assert [(e.label, e.image) for e in read(url + "/labels.tar")] == [(1, b"x")]


@pytest.fixture
def s3(folder, monkeypatch):
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    endpoint = f"http://{host}:{port}"
    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="bucket")
    for path in folder.iterdir():
        client.upload_file(str(path), "bucket", f"some/prefix/{path.name}")
    yield endpoint
    server.stop()


def test_shards_from_s3(s3, folder, monkeypatch):
    local = facts(read(str(folder)))
    assert facts(read("s3://bucket/some/prefix/", storage={"endpoint_url": s3})) == local
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    assert facts(read("s3://bucket/some/prefix/shards-{000000..000003}.tar")) == local
    found = read("s3://bucket/some/prefix/shards-{000003..000004}.tar")
    assert [getattr(e, "reason", None) for e in found] == [None] * 6 + ["unreachable_shard_shards-000004.tar"]


def test_a_pool_from_a_url_is_that_of_the_same_files(serve, folder, tmp_path):
    """Through the whole of ingest, with a shard that is cut and one that is not there."""
    for shard in range(2):
        rows = []
        for number in range(8):
            buffer = io.BytesIO()
            Image.new("L", (8, 8), 16 * number + shard).save(buffer, "PNG")
            rows.append((f"{shard:05d}{number:04d}.png", buffer.getvalue()))
        tar(folder / f"real-{shard:06d}.tar", *rows)
    whole = (folder / "real-000001.tar").read_bytes()
    (folder / "real-000001.tar").write_bytes(whole[:3000])
    url = serve(files_of(folder))
    pools = {}
    for name, path in (("near", str(folder / "real-{000000..000001}.tar")), ("far", url + "/real-{000000..000002}.tar")):
        (tmp_path / name).mkdir()
        counts = ingest_source(Dataset(source="webdataset", path=path), 0, tmp_path / name, lambda items, **_: items)
        pools[name] = counts, (tmp_path / name / "shards/shards-000000.tar").read_bytes()
    assert pools["far"][1] == pools["near"][1]
    assert pools["far"][0]["dropped_unreachable_shard_real-000002.tar"] == 1
    assert pools["far"][0]["dropped_damaged_shard_real-000001.tar"] == pools["near"][0]["dropped_damaged_shard_real-000001.tar"] == 1


def test_memory_holds_a_block_and_a_member_not_a_shard(serve, folder):
    picture = os.urandom(1_000_000)
    tar(folder / "large.tar", *[(f"{i}.jpg", picture) for i in range(60)])
    path = serve(files_of(folder)) + "/large.tar"
    tracemalloc.start()
    try:
        count = sum(1 for _ in webdataset.read(Dataset(source="webdataset", path=path)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 60
    assert peak < 25_000_000  # two blocks of 4 MiB, joined and cut, in the reader; the server lives in this process too
