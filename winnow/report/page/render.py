"""Pages that open offline: one file with style and pictures, no script; equal content gives equal bytes."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from winnow.report.page import numbers

FILTERS = ("flops", "percent", "grams", "energy", "seconds", "thousands")


def render(template: Path, **content: Any) -> str:
    """Fill a template, which may extend and include those beside it and those of this folder.

    Text is escaped, and an unknown name is an error.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in FILTERS:
        environment.filters[name] = getattr(numbers, name)
    environment.filters |= {"words": words, "unbroken": unbroken}
    return environment.get_template(template.name).render(**content)


def unbroken(text: str) -> str:
    """Keep numbers on one line with their percent sign."""
    return text.replace(" %", "\u00a0%")


def words(name: str) -> str:
    """A key as people read it: `wrong_label` becomes wrong label."""
    return name.replace("_", " ")
