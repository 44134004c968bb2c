"""From plain data to checked dataclasses, each mistake as one line that names its key."""

import dataclasses
import difflib
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from winnow.config.bounds import check
from winnow.config.errors import ParamsError


def plugin_config(cls: type, key: str, values: dict[str, Any] | None) -> Any:
    """Build a plug-in's own `Config` from the block under `key`.

    Raises:
        ParamsError: of one line, for a key that is unknown or a value that does not fit.
    """
    try:
        config = OmegaConf.to_object(
            OmegaConf.merge(OmegaConf.structured(cls), OmegaConf.create(values or {}))
        )
    except OmegaConfBaseException as error:
        raise ParamsError(one_line(error, prefix=key)) from None
    except ParamsError:
        raise
    except ValueError as error:
        raise ParamsError(f"{key}: {error}") from None
    check(config, key)
    return config


def one_line(error: OmegaConfBaseException, prefix: str = "") -> str:
    """OmegaConf's error as `KEY: what is wrong; what is allowed`."""
    key = ".".join(part for part in (prefix, error.full_key or "") if part)
    if isinstance(error, ConfigKeyError):
        allowed = _allowed(error)
        near = difflib.get_close_matches(str(error.key), allowed, n=1)
        hint = f"; did you mean {near[0]}? Allowed" if near else "; allowed"
        return f"{key}: not a key{hint}: {', '.join(allowed)}"
    reason = str(error.msg or error).splitlines()[0]
    return f"{key}: {reason}"


def _allowed(error: OmegaConfBaseException) -> list[str]:
    if dataclasses.is_dataclass(error.object_type):
        return [f.name for f in dataclasses.fields(error.object_type)]
    if isinstance(error.parent_node, DictConfig):
        return sorted(str(k) for k in error.parent_node)
    return []
