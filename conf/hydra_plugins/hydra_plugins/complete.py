"""Lets `dvc exp run -S` write the same params.yaml as `winnow compose`: DVC loads this file before it composes.

Hydra knows no hook after composing, but it resolves ${complete:}, which conf/config.yaml names: in its place the
defaults and the derived keys are filled in.
"""

from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from winnow.config.compose import HOOK, complete


def fill(_root_: DictConfig) -> bool:
    """Complete the configuration in place."""
    raw: Any = OmegaConf.to_container(_root_, resolve=False)
    with open_dict(_root_):
        for key, value in complete({k: v for k, v in raw.items() if k != HOOK}).items():
            _root_[key] = value
    return True


OmegaConf.register_new_resolver("complete", fill, replace=True)
