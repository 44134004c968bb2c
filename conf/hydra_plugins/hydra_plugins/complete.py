"""Lets `dvc exp run -S` write the same params.yaml as `winnow compose`: DVC loads this before it composes.

Hydra has no hook after composing, but it resolves ${complete:}, which conf/config.yaml names: there the
defaults and the derived keys are filled in.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from winnow.config.compose import complete
from winnow.config.laboratory import LABORATORY
from winnow.config.shorthands import SHORTHANDS


def fill(_root_: DictConfig) -> bool:
    """Complete the configuration in place; `complete` itself leaves out the key that this stands for."""
    raw: Any = OmegaConf.to_container(_root_, resolve=False)
    with open_dict(_root_):
        for key, value in complete(raw).items():
            _root_[key] = value
        for key in (
            *SHORTHANDS,
            *LABORATORY,
        ):  # written out by now; they cannot be deleted while Hydra walks over the keys
            _root_[key] = None
    return True


OmegaConf.register_new_resolver("complete", fill, replace=True)
