"""The rules of the house that a reader cannot see break: who imports whom, who reads the dirt, what dvc.yaml forgets."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
OURS = ("flows", "models", "stages")
PURE = {"torch", "torchvision", "timm", "numpy", "open_clip", "models"}
# Read by a stage without shaping its result: what it shows, what it costs, how params are checked.
BESIDE_THE_RESULT = (
    "stages/ledger/",
    "stages/progress.py",
    "stages/params.py",
    "stages/params_check.py",
    "stages/stage.py",
    "stages/__init__.py",
    "stages/sources/__init__.py",
)
TIMES = {"cost.json"}


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def test_models_import_only_pure_libraries():
    for path in sources("models"):
        top = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
        assert top <= PURE, f"{path.relative_to(ROOT)} imports {sorted(top - PURE)}"


def test_models_touch_no_files():
    for path in sources("models"):
        assert not re.search(r"\bopen\(|\bPath\(|\bprint\(|import logging", path.read_text()), path


def test_flows_import_neither_torch_nor_stages():
    for path in sources("flows"):
        top = {name.split(".")[0] for name in imported(path)}
        assert not top & {"torch", "timm", "stages", "models", "mlflow", "dvc"}, path


def test_stages_do_not_import_flows_or_prefect():
    for path in sources("stages"):
        assert not {name.split(".")[0] for name in imported(path)} & {"flows", "prefect"}, path


def test_only_ingest_and_the_report_know_of_dirt():
    allowed = {"stages/data/pool.py", "stages/data/pollution.py", "stages/ingest.py"}
    for path in [*sources("stages"), *sources("models")]:
        name = str(path.relative_to(ROOT))
        if name in allowed or name.startswith("stages/report/") or name == "stages/compare.py":
            continue
        assert "dirt.parquet" not in path.read_text(), f"{name} reads the dirt"
    assert "dirt" not in (ROOT / "stages/report/card.py").read_text().replace("dirty", "").split('"""', 2)[-1]


def test_only_compare_depends_on_dirt_and_nothing_that_trains_on_a_time():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, block in stages.items():
        deps = block.get("do", block).get("deps", [])
        if name != "compare":
            assert "data/pool" not in deps, "the whole pool holds the dirt"
            assert "data/pool/dirt.parquet" not in deps
            assert not any(Path(dep).name in TIMES for dep in deps), name


def reached(module: Path, seen: set[Path]) -> set[Path]:
    """All files of ours that a module imports, directly or not."""
    for name in imported(module):
        if name.split(".")[0] in OURS:
            base = ROOT / Path(*name.split("."))
            for path in (base.with_suffix(".py"), base / "__init__.py"):
                if path.exists() and path not in seen:
                    seen.add(path)
                    if not str(path.relative_to(ROOT)).startswith(BESIDE_THE_RESULT):
                        reached(path, seen)
    return seen


@pytest.mark.parametrize("stage", sorted(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]))
def test_dvc_yaml_names_all_the_code_a_stage_runs(stage):
    """A missing code dependency is a silently stale result."""
    block = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]
    deps = [dep for dep in block.get("do", block)["deps"] if dep.split("/")[0] in OURS]
    missing = []
    for path in sorted(reached(ROOT / "stages" / f"{stage}.py", set())):
        name = str(path.relative_to(ROOT))
        ignored = name.startswith(BESIDE_THE_RESULT) or (path.name == "__init__.py" and path.stat().st_size < 400)
        if not ignored and not any(name == dep or name.startswith(dep + "/") for dep in deps):
            missing.append(name)
    assert not missing, f"dvc.yaml: {stage} runs {missing} and does not depend on it"


def test_our_reading_of_the_dag_is_dvcs():
    from stages import progress

    out = subprocess.run([sys.executable, "-m", "dvc", "dag", "--dot"], cwd=ROOT, capture_output=True, text=True, check=True)
    edges = set(re.findall(r'"(\S+)" -> "(\S+)"', out.stdout))
    ours = {(need, name) for name, needs in progress._graph().items() for need in needs}
    assert ours == edges


def test_no_file_has_a_name_that_says_nothing_or_hides_a_library():
    bad = {"utils", "util", "common", "helpers", "misc", "mlflow", "prefect", "webdataset", "hydra", "dvc"}
    names = {p.stem for room in OURS for p in sources(room)} - {"webdataset"}  # a source is named by its config key
    assert not names & bad
