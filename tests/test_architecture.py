"""The rules of the house that a reader cannot see break: imports, what dvc.yaml depends on, names."""

import ast
import os
import re
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

from winnow.config.plugins import plugins
from winnow.pipeline.code import closure

ROOT = Path(__file__).resolve().parent.parent
OURS = ("flows", "models", "stages", "winnow")
PURE = {"torch", "torchvision", "timm", "numpy", "open_clip", "models"}
# Each room imports only from those before it. A file beside the rooms counts as a room.
ROOMS = [
    "models",
    *(
        f"winnow.{name}"
        for name in [
            "config",
            "ledger",
            "pipeline",
            "pool",
            "leakage",
            "ingest",
            "sources",
            "clustering",
            "filters",
            "versions",
            "loading",
            "training",
            "selection",
            "embedding",
            "evaluation",
            "report",
            "tracking",
            "lint",
            "export",
            "export_onnx",
            "export_model",
            "export_results",
            "preflight",
            "plan",
            "cli",
        ]
    ),
    "stages",
]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def sources(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names that a file imports, wherever in the file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def modules() -> dict[str, Path]:
    """Dotted name -> file, of all code but tests and benchmarks."""
    files = [path for room in OURS for path in sources(room)]
    return {".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): f for f in files}


def room(module: str) -> str:
    return next((name for name in reversed(ROOMS) if module == name or module.startswith(f"{name}.")), "")


def test_models_import_only_pure_libraries():
    for path in sources("models"):
        top = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names)
        assert top <= PURE, f"{path.relative_to(ROOT)} imports {sorted(top - PURE)}"


def test_models_touch_no_files():
    for path in sources("models"):
        assert not re.search(r"\bopen\(|\bPath\(|\bprint\(|import logging", path.read_text()), path


def test_flows_import_none_of_the_other_rooms():
    for path in sources("flows"):
        top = {name.split(".")[0] for name in imported(path)}
        assert not top & {"torch", "timm", "stages", "models", "winnow", "mlflow", "dvc"}, path


def test_nobody_imports_flows_or_prefect_and_no_stage_imports_another():
    for name, path in modules().items():
        top = {imported_.split(".")[0] for imported_ in imported(path)}
        assert name.startswith("flows") or not top & {"flows", "prefect"}, name
        assert not any(one.startswith("stages") for one in imported(path)), name


def test_every_room_imports_only_from_rooms_before_it():
    known = modules()
    for name, path in known.items():
        if name.startswith("flows") or name in ("winnow", "stages", "models"):
            continue
        assert room(name), f"{name} is in no room; name it in ROOMS"
        for other in imported(path) & known.keys():
            if other in ("winnow", "stages", "models"):
                continue
            later = ROOMS.index(room(other)) > ROOMS.index(room(name))
            assert not later, f"{name} imports {other}, a later room"


def test_no_import_circle_anywhere():
    known = modules()
    edges = {name: (imported(path) & known.keys()) - {name} for name, path in known.items()}
    for name in known:  # an import runs the packages around a module too
        parts = name.split(".")
        edges[name] |= {".".join(parts[:i]) for i in range(1, len(parts))}

    def reach(start: str) -> set[str]:
        found: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            if (one := waiting.pop()) not in found:
                found.add(one)
                waiting += edges[one]
        return found

    circles = sorted(name for name in known if name in reach(name))
    assert circles == []


def test_stages_are_exactly_dvcs_and_thin():
    files = {path.stem: path for path in sources("stages") if path.stem != "__init__"}
    assert set(files) == set(STAGES)
    for name, path in files.items():
        assert len(path.read_text().splitlines()) <= 170, f"{name} is not thin: move what it knows to winnow/"


def test_files_are_read_in_one_sitting():
    """House style: about 150 lines, ceiling 300; functions about 12, ceiling 60 (pages of text apart)."""
    for name, path in modules().items():
        assert len(path.read_text().splitlines()) <= 320, name
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 65, f"{name}.{node.name}"


# --- what dvc.yaml depends on

# What plugins finds out is which code others run, so it depends on the module that reads code.
READS_CODE = {"plugins": {"winnow/pipeline/code.py"}}
# A criterion that the code itself chooses: a reference and a finetuning train with uniform sampling.
FIXED = {"reference": ["models.criteria.uniform"], "semi_supervised": ["models.criteria.uniform"]}
CHOSEN = {  # by params.yaml, one of these: in a path of dvc.yaml
    "winnow/sources/${item.source}.py": "winnow.sources",
    "models/methods/${item.method}.py": "models.methods",
    "models/criteria/${item.dvc.criterion}.py": "models.criteria",
    "${item.dvc.method}": "models.methods",
}
LISTED = {  # by params.yaml, several of these: data/plugins/code says which
    "curate": "winnow.filters",
    "datasheet": "winnow.filters",
    "refine": "winnow.filters",
    "reference": "models.methods",
}


def body(stage: str) -> dict[str, list[str]]:
    block: dict[str, list[str]] = STAGES[stage].get("do", STAGES[stage])
    return block


def code_deps(stage: str) -> list[str]:
    return [dep for dep in body(stage)["deps"] if dep.split("/")[0] in OURS]


def shaping(*modules_: str) -> set[str]:
    """The files that shape what these modules do; a package that says no more than a docstring does not."""
    files = {str(path) for path in closure(*modules_).files}
    return {
        name for name in files if not (name.endswith("__init__.py") and (ROOT / name).stat().st_size < 400)
    }


def needed(stage: str) -> set[str]:
    return shaping(f"stages.{stage}", *FIXED.get(stage, ())) | READS_CODE.get(stage, set())


def plugins_of(stage: str) -> list[str]:
    """The modules that params.yaml may choose for a stage."""
    packages = {package for dep, package in CHOSEN.items() if dep in body(stage)["deps"]}
    packages |= {LISTED[stage]} if stage in LISTED else set()
    packages |= {"winnow.filters", "models.methods"} if stage == "plugins" else set()
    return [f"{package}.{name}" for package in sorted(packages) for name in plugins(package)]


def own_room(module: str) -> tuple[str, ...]:
    """The rooms of which a plug-in runs files of its own choice."""
    filters = ("winnow/filters/", "winnow/clustering/")
    return (
        filters
        if module.startswith("winnow.filters")
        else (f"{module.rpartition('.')[0].replace('.', '/')}/",)
    )


def covers(dep: str, name: str) -> bool:
    return name == dep or name.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_yaml_names_all_the_code_a_stage_runs(stage):
    """A missing code dependency is a silently stale result."""
    deps = code_deps(stage)
    missing = [name for name in sorted(needed(stage)) if not any(covers(dep, name) for dep in deps)]
    assert not missing, f"dvc.yaml: {stage} runs {missing} and does not depend on it"


@pytest.mark.parametrize("stage", STAGES)
def test_a_chosen_plugin_brings_no_code_that_dvc_yaml_does_not_name(stage):
    """Whichever plug-in params.yaml chooses, all that it imports beside itself is a dependency too."""
    deps = code_deps(stage)
    for module in (
        plugins_of(stage) if stage != "datasheet" else ()
    ):  # a datasheet quotes filters, and runs none
        for name in sorted(shaping(module)):
            known = name.startswith(own_room(module)) or any(covers(dep, name) for dep in deps)
            assert known, f"dvc.yaml: {stage} with {module} runs {name} and does not depend on it"


@pytest.mark.parametrize("stage", STAGES)
def test_dvc_yaml_names_no_code_that_a_stage_does_not_run(stage):
    """A superfluous one runs a stage again for nothing. A folder is precise where most of it is run."""
    files = needed(stage) | shaping(*plugins_of(stage))
    for dep in code_deps(stage):
        if "${" in dep:
            continue
        assert any(covers(dep, name) for name in files), f"dvc.yaml: {stage} does not run {dep}"
        inside = [str(path.relative_to(ROOT)) for path in sources(dep)] if (ROOT / dep).is_dir() else []
        inside = [name for name in inside if not name.endswith("__init__.py")]
        unused = [name for name in inside if name not in files]
        assert len(unused) <= len(inside) / 2, f"dvc.yaml: {stage} does not run {unused} of {dep}: name files"


def test_every_list_of_plugins_is_a_dependency_by_its_own_file():
    for stage in LISTED:
        assert any(dep.startswith("data/plugins/code/") for dep in body(stage)["deps"]), stage


def test_only_compare_depends_on_what_was_corrupted_and_nothing_that_trains_on_a_time():
    for name, block in STAGES.items():
        deps = block.get("do", block).get("deps", [])
        if name != "compare":
            assert "data/pool" not in deps, "the whole pool holds the record of the corruption"
            assert "data/pool/corruption.parquet" not in deps
            assert not any(Path(dep).name == "cost.json" for dep in deps), name


def test_only_ingest_and_the_comparison_know_what_was_corrupted():
    allowed = ("winnow/pool/", "winnow/ingest/", "winnow/report/compare/")
    for path in modules().values():
        name = str(path.relative_to(ROOT))
        if not name.startswith(allowed):
            assert "corruption.parquet" not in path.read_text(), f"{name} reads what was corrupted"


def test_nothing_depends_on_a_view_and_on_what_changes_no_byte():
    for name, block in STAGES.items():
        body = block.get("do", block)
        assert not any("results/datasheet" in dep for dep in body["deps"]), name
        assert "engine" not in body.get("params", []), "engine changes no byte of what comes out"


# --- names


def test_no_file_has_a_name_that_says_nothing_or_hides_a_library():
    bad = {"utils", "util", "common", "helpers", "misc", "mlflow", "prefect", "webdataset", "hydra", "dvc"}
    names = {p.stem for room in OURS for p in sources(room)} - {
        "webdataset"
    }  # a source is named by its config key
    assert not names & bad


def test_tests_mirror_the_code():
    """A test file is named after the module or room that it tests: test_flops.py, test_flops_networks.py."""
    known = {name for one in modules() for name in one.split(".")}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = path.stem.removeprefix("test_")
        mirrors = any(name == one or name.startswith(f"{one}_") for one in known)
        assert mirrors or path.parent == ROOT / "tests", f"{path.relative_to(ROOT)} mirrors no module"


def test_no_path_of_a_machine_in_what_is_committed():
    homes = (os.path.expanduser("~"), str(ROOT))
    for path in [
        *sources("winnow"),
        *sources("stages"),
        *sources("flows"),
        ROOT / "dvc.yaml",
        ROOT / "params.yaml",
    ]:
        assert not any(len(home) > 5 and home in path.read_text() for home in homes), path
