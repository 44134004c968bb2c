"""Names in params.yaml that become folders."""

from winnow.config.errors import ParamsError


def check_folder(key: str, name: str) -> None:
    """Raise `ParamsError` for a name that no folder should have."""
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ParamsError(f"{key}.{name}: a name becomes a folder; allowed: letters, digits, - and _")
