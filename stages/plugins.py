"""plugins: the code of the plug-ins that params.yaml lists, as one file for each list.

DVC depends on files and folders that dvc.yaml names, and cannot follow a list in params.yaml. So a stage that
runs a list of plug-ins depends on the file that is written here. It changes when one of its own plug-ins
does, and keeps its bytes when another one is added; then DVC skips the stage.
"""

from collections.abc import Iterable

from winnow.config.plugins import CODE
from winnow.config.schema import CLEAN, POOL, REFERENCE, Params
from winnow.pipeline.code import closure
from winnow.pipeline.files import sha256, write_json
from winnow.pipeline.stage import Stage, main


def plugins(stage: Stage) -> None:
    """Write versions/NAME.json (the filters that made a version) and reference.json: file -> SHA-256."""
    params = stage.params
    for name in params.datasheets:
        _write(stage, f"versions/{name}", (f"winnow.filters.{one}" for one in _filters(params, name)))
    _write(stage, "reference", (f"models.methods.{name}" for name in params.reference.methods))


def _filters(params: Params, version: str) -> list[str]:
    """Those of a version and of the versions it descends from: they explain why an example was dropped."""
    if version in (POOL, REFERENCE, CLEAN):
        return list(params.curate.filters)
    one = params.versions[version]
    return [*_filters(params, one.parent), *one.filters]


def _write(stage: Stage, name: str, modules: Iterable[str]) -> None:
    files = {str(path): sha256(CODE / path) for path in closure(*modules).files}
    write_json(stage.work / "code" / f"{name}.json", files)
    stage.metrics[name] = len(files)


if __name__ == "__main__":
    main(plugins)
