"""Which code made a result: a closure holds what is imported, and its digest changes with that and nothing
else.
"""

import subprocess
import sys
from importlib.metadata import packages_distributions

import pytest

from winnow.pipeline import code
from winnow.pipeline.code import BESIDE, DISTRIBUTIONS, OURS, SHAPING, closure
from winnow.pipeline.workspace import Workspace

ROOT = Workspace.find().root
MODULES = ("models.methods.dino", "winnow.filters.semantic_duplicate", "winnow.training.loop")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_a_closure_is_what_python_imports(module):
    """Against the interpreter itself: every module of ours that an import loads is in the closure, or beside
    it.

    The closure may hold more: imports inside functions run later.
    """
    program = f"import sys, {module}; print(*(m for m in sys.modules if m.split('.')[0] in {OURS}))"
    out = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name for name in out.stdout.split() if not name.startswith(BESIDE) or name.startswith(SHAPING)}
    assert loaded - closure(module).modules <= {"winnow.pipeline"}


def test_the_embedding_code_knows_encoder_text_tower_weights_and_views():
    """What the cache of embeddings missed once."""
    found = closure("winnow.embedding.embeddings")
    wanted = {"models.encoders", "models.text", "winnow.training.weights", "winnow.loading.views"}
    assert wanted <= found.modules
    assert {"torch", "timm", "numpy", "PIL"} <= found.libraries


def test_another_method_is_not_in_the_closure_of_one():
    found = closure("winnow.training.loop", "models.methods.simclr").modules
    assert "models.methods.simclr" in found
    assert "models.methods.dino" not in found


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small package of the right name: a imports b (inside a function) and numpy; c stands alone."""
    for name in ("a", "b", "c"):
        (tmp_path / "models").mkdir(exist_ok=True)
        (tmp_path / f"models/{name}.py").write_text("X = 1\n")
    (tmp_path / "models/__init__.py").write_text("")
    (tmp_path / "models/a.py").write_text("import numpy\n\n\ndef f():\n    from models import b\n")
    monkeypatch.setattr(code, "CODE", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for cached in (code._imports, code._file, code._installed):
        cached.cache_clear()


def test_a_digest_changes_with_the_closure_and_nothing_else(tree, monkeypatch):
    before = closure("models.a").digest
    (tree / "models/c.py").write_text("X = 2\n")
    forget()
    assert closure("models.a").digest == before
    (tree / "models/b.py").write_text("X = 2\n")
    forget()
    changed = closure("models.a").digest
    assert changed != before
    forget()
    monkeypatch.setattr(code, "version", lambda name: "0.0.1")
    assert closure("models.a").digest not in (before, changed), "another version of numpy is other code"


def test_a_module_that_is_not_there_is_an_error(tree):
    with pytest.raises(ValueError, match=r"models\.d: no such module"):
        closure("models.d")


@pytest.mark.slow
def test_every_library_is_found_by_its_distribution():
    """An imported name stands for an installed package, so that its version is in the digest."""
    known = packages_distributions()
    stages = [f"stages.{path.stem}" for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__"]
    for name in closure(*stages).libraries:
        distribution = DISTRIBUTIONS.get(name, name).lower().replace("_", "-")
        assert distribution in [one.lower().replace("_", "-") for one in known.get(name, [])], name
