"""Four shards in a folder, servers for them, and what is read of them."""

import asyncio
import os
import shutil
import socket
import subprocess
import threading
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from aiohttp import web

from tests.tars import write_tar
from winnow.config.datasets import Dataset
from winnow.sources import webdataset


def blob(number, size=3000):
    return bytes([number % 251]) * size


@pytest.fixture
def folder(tmp_path):
    """Four shards of six pictures; the first has its parquet, as img2dataset leaves it."""
    root = tmp_path / "dir"
    for shard in range(4):
        keys = [f"{shard:05d}{i:04d}" for i in range(6)]
        pairs = [((f"{key}.jpg", blob(i)), (f"{key}.txt", b"hi")) for i, key in enumerate(keys)]
        write_tar(root / f"shards-{shard:06d}.tar", *[member for pair in pairs for member in pair])
    rows = [{"key": f"00000{i:04d}", "uid": f"{i:032x}", "status": "success"} for i in range(6)]
    pq.write_table(pa.Table.from_pylist(rows), root / "shards-000000.parquet")
    return root


@pytest.fixture(scope="session")
def read():
    """A function: all examples of shards at a path or URL."""

    def read_all(path, **options):
        return list(webdataset.read(Dataset("webdataset", path=path, options=options)))

    return read_all


@pytest.fixture(scope="session")
def facts(read):
    """A function: all that the examples of shards at a path or URL hold."""

    def every(path, **options):
        examples = read(path, **options)
        return [(e.key, e.image, e.caption, e.split, e.uid, getattr(e, "reason", None)) for e in examples]

    return every


@pytest.fixture(scope="session")
def free_port():
    """A function: a port of this machine that nothing listens on."""

    def find():
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            return found.getsockname()[1]

    return find


@pytest.fixture
def nginx(tmp_path, folder, free_port):
    """The URL of an nginx that serves the folder above the shards, and the folder of its log."""
    if not (shutil.which("nginx") or os.path.exists("/usr/sbin/nginx")):
        pytest.skip("nginx is not installed")
    port, home = free_port(), tmp_path / "nginx"
    home.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {home}/{kind};" for kind in kinds)
    (home / "nginx.conf").write_text(
        f"daemon off; error_log {home}/error.log; pid {home}/pid; {'user root;' if os.getuid() == 0 else ''}"
        f"events {{}} http {{ access_log {home}/access.log; {paths}"
        f"server {{ listen 127.0.0.1:{port}; root {folder.parent}; autoindex on; }} }}"
    )
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [binary, "-c", str(home / "nginx.conf"), "-p", str(home)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _wait_for(port)
    yield f"http://127.0.0.1:{port}", home
    process.terminate()
    process.wait()


def _wait_for(port):
    for _ in range(100):
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture
def serve(free_port):
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

        target = lambda: (loop.run_until_complete(run()), loop.run_forever())  # noqa: E731
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        ready.wait(10)
        loops.append((loop, thread, runners))
        return f"http://127.0.0.1:{port}"

    yield start
    for loop, thread, runners in loops:
        asyncio.run_coroutine_threadsafe(runners[0].cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture
def files_of():
    """A function: a handler that serves the files of a folder."""

    def make(folder):
        async def handler(request):
            path = folder / request.match_info["name"]
            return web.FileResponse(path) if path.is_file() else web.Response(status=404)

        return handler

    return make
