"""From the link that `winnow ui` prints to the sorted arms and the scatter of score and cost, in Chromium."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium"),
]

# The grid places its cells; their order in the document is another.
AS_SEEN = """([selector, axis, wanted]) => {
    const cells = [...document.querySelectorAll(selector)].map(one =>
        [one.getBoundingClientRect()[axis], one]);
    const seen = cells.sort((a, b) => a[0] - b[0]).map(one => one[1].innerText.trim());
    return JSON.stringify(seen.filter(one => wanted.includes(one))) === JSON.stringify(wanted);
}"""
ARMS, HEADERS = '.ag-row a[href*="/runs/"]', '[data-testid^="sort-header-"]'
COLUMNS = ["policy", "method", "backbone", "version", "version_digest", "seed"]
COLUMNS += ["accuracy/held_out/linear_probe", "cost/tflops"]


@pytest.fixture
def link(results, runs, published, monkeypatch):
    """What `winnow ui` prints, with a server there."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    environment = {**os.environ, **quiet, "MLFLOW_PORT": port}
    where = ["--backend-store-uri", runs.uri, "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", *where]
    log = (results.workspace.root / "server.log").open("w")
    server = subprocess.Popen(
        command, cwd=results.workspace.root, env=environment, stdout=log, stderr=log, start_new_session=True
    )
    try:
        end = time.monotonic() + 120
        while not _answers(f"http://127.0.0.1:{port}/health"):
            assert server.poll() is None
            assert time.monotonic() < end
            time.sleep(0.3)
        command = [sys.executable, "-m", "winnow.cli.main", "ui"]
        done = subprocess.run(
            command, cwd=results.workspace.root, env=environment, capture_output=True, text=True, check=True
        )
        yield done.stdout.strip()
    finally:
        os.killpg(server.pid, 15)
        server.wait(60)
        log.close()


def _answers(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def test_the_link_opens_the_sorted_arms_and_one_click_the_scatter(link, results):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1680, "height": 950})
        page.set_default_timeout(90_000)
        page.goto(link)

        scores = {arm: row["tasks"]["held_out"]["linear_probe.top1"] for arm, row in results.rows.items()}
        best_first = sorted(scores, key=lambda arm: -scores[arm])
        page.wait_for_function(AS_SEEN, arg=[ARMS, "y", best_first])
        page.wait_for_function(AS_SEEN, arg=[HEADERS, "x", COLUMNS])

        page.locator("label", has=page.locator("input[value=CHART]")).click()  # the one click
        plots = page.locator(".js-plotly-plot", has=page.locator(".scatterlayer .point"))
        plots.first.wait_for()
        axes = ("cost/tflops", "accuracy/held_out/linear_probe")
        assert [plots.first.locator(f".{one}title").text_content() for one in ("x", "y")] == list(axes)
        assert plots.first.locator(".scatterlayer .point").count() == len(results.rows)
        browser.close()
