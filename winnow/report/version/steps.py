"""The steps of a version in words: their parameters, and what their reasons for dropping a row mean."""

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from winnow.config.plugins import CODE, plugins

# The reasons that curate itself gives; a filter's reason is explained by the filter's own file.
BY_CURATE = {
    "spare_test": "in the source's test split, and not needed there",
    "near_held_out": "identical or close to an example of a split that is held out for the tasks",
}
LONGEST = 100  # characters of a parameter


def settings(parameters: Mapping[str, Any]) -> list[str]:
    """The parameters of a step as `key value`; long ones are cut."""
    texts = [
        f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in parameters.items()
    ]
    return [text if len(text) <= LONGEST else text[:LONGEST] + "…" for text in texts]


def explain(reason: str, steps: Sequence[Mapping[str, Any]] = ()) -> str:
    """What a reason means: the first paragraph of the filter of that name, or of the filter that gave it.

    Files are read, not imported.
    """
    if reason in BY_CURATE:
        return BY_CURATE[reason]
    known = plugins("winnow.filters")
    for name in (reason, *(step["name"] for step in steps if reason in step.get("dropped", {}))):
        if name in known:
            source = (CODE / "winnow/filters" / f"{name}.py").read_text(encoding="utf-8")
            first = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[0]
            return " ".join(first.split()).removeprefix(f"{name}: ").rstrip(".")
    return ""
