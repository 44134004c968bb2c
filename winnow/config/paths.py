"""Whether what a data set is read from is there, before a stage finds out."""

from pathlib import Path

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError


def check_path(key: str, dataset: Dataset) -> None:
    """Refuse a path of this machine that does not exist; what it holds is for its source to judge.

    URLs are not looked up, and of names with {braces} only the folder, without {braces} of its own.

    Args:
        key: where the data set stands in params.yaml, such as `dataset`.

    Raises:
        ParamsError: naming the path, and the nearest folder above it that exists.
    """
    if not dataset.path or "://" in dataset.path:
        return
    path = Path(dataset.path.split("{")[0]).expanduser()
    if "{" in dataset.path and not dataset.path.split("{")[0].endswith("/"):
        path = path.parent
    if path.exists():
        return
    above = next(folder for folder in path.absolute().parents if folder.exists())
    given = f"{key}.path: {dataset.path!r} does not exist ({above} does)"
    raise ParamsError(f"{given}; give a folder or file of this machine, or a URL that the source reads")
