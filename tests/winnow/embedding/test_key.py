"""What changes the key of embeddings: the model, run settings, code and library versions; nothing else."""

import dataclasses
import shutil
import subprocess
import sys

import pytest

from winnow.config.plugins import CODE
from winnow.config.schema import Run
from winnow.embedding.key import embedding_key

PLUGIN = "models.methods.clip"
RUN = f"""
from winnow.config.schema import Run
from winnow.embedding.key import embedding_key
print(embedding_key("weights", None, 28, Run(), ["{PLUGIN}"]))
"""


def key(**changed):
    inputs = {"weights": "a" * 64, "architecture": None, "size": 28, "run": Run(), "plugins": ()}
    return embedding_key(**(inputs | changed))


@pytest.mark.parametrize(
    "changed",
    [
        {"weights": "b" * 64},
        {"architecture": "resnet18"},
        {"size": 32},
        {"plugins": (PLUGIN,)},
        {"run": Run(accelerator="cpu")},
        {"run": Run(precision="bf16-mixed")},
        {"run": Run(fast_decode=True)},
    ],
)
def test_each_input_changes_it(changed):
    assert key(**changed) != key()


def test_the_number_of_threads_does_not():
    assert key(run=dataclasses.replace(Run(), threads=7)) == key()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the code that tests may change, and its key."""
    root = tmp_path_factory.mktemp("project")
    for room in ("models", "winnow"):
        shutil.copytree(CODE / room, root / room, ignore=shutil.ignore_patterns("__pycache__"))
    return root, key_in(root)


def key_in(root):
    run = subprocess.run([sys.executable, "-c", RUN], cwd=root, check=True, capture_output=True, text=True)
    return run.stdout


def key_after(root, path, old, new):
    """The key with a change in one file, which is undone."""
    text = (root / path).read_text()
    assert old in text
    (root / path).write_text(text.replace(old, new, 1))
    changed = key_in(root)
    (root / path).write_text(text)
    return changed


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("models/encoders.py", "\ndef create", "\n# changed\ndef create"),
        ("models/methods/clip.py", "\nclass Method", "\n# changed\nclass Method"),
        ("models/encoders.py", "mean: Channels = (0.5,", "mean: Channels = (0.4,"),
        ("winnow/embedding/embeddings.py", "BATCH = 256", "BATCH = 128"),
    ],
)
def test_code_that_makes_embeddings_changes_it(project, path, old, new):
    root, before = project
    assert key_after(root, path, old, new) != before


@pytest.mark.parametrize(
    "path",
    ["models/criteria/hard.py", "models/methods/dino.py", "models/detector.py", "winnow/filters/tiny.py"],
)
def test_other_code_does_not(project, path):
    root, before = project
    assert key_after(root, path, "\nfrom", "\n# changed\nfrom") == before


def test_another_version_of_a_library_changes_it(project):
    root, before = project
    info = root / "torch-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 99.0\n")
    changed = key_in(root)
    shutil.rmtree(info)
    assert changed != before == key_in(root)
