"""`dvc plots show` with the project's template and page, opened in a browser without a network."""

import re
import shutil
import subprocess
import sys

import pytest

from winnow.config.plugins import CODE
from winnow.report.compare.views import write_curves

DVC_YAML = """
plots:
  - curves.csv: {x: flops, y: val_top1, template: arms, title: Every arm}
  - picture.png
"""
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8ffff3f0005fe02fe"
    "0def46b80000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    root = tmp_path_factory.mktemp("plots")
    readings = {
        arm: [{"step": i, "flops": 1e12 * i, "val_top1": height / i} for i in (1, 2, 3)]
        for arm, height in (("one", 0.3), ("<two>", 0.6))
    }
    write_curves(root / "curves.csv", readings)
    (root / "picture.png").write_bytes(PIXEL)
    (root / "dvc.yaml").write_text(DVC_YAML)
    run = [sys.executable, "-m", "dvc"]
    subprocess.run([*run, "init", "-q", "--no-scm"], cwd=root, check=True)
    settings = (CODE / ".dvc/config").read_text().split("[plots]")[1]
    (root / ".dvc/config").write_text(f"[core]\n    no_scm = true\n[plots]{settings}")
    shutil.copytree(CODE / ".dvc/plots", root / ".dvc/plots", dirs_exist_ok=True)
    subprocess.run([*run, "plots", "show"], cwd=root, check=True, capture_output=True)
    return root / "dvc_plots/index.html"


@pytest.mark.slow
def test_lines_are_drawn_without_a_network(drawn, open_page):
    assert not re.search(r"src=.?https?:", drawn.read_text())
    page = open_page(drawn.as_uri())
    assert page.locator("h2").inner_text() == "Every arm"
    assert page.locator("svg polyline").count() == 2
    assert page.locator("svg circle").count() == 6
    names = page.locator("svg text[style]").all_text_contents()
    assert names == ["<two>", "one"]  # by height
    assert page.locator("img").evaluate("(one) => one.naturalWidth") == 1
