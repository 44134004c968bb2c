"""Pages that open offline: one file, style and pictures inside, no script. Equal content gives equal bytes."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stages.report import numbers


def render(template: str, **content: Any) -> str:
    """Fill a template of this folder; text is escaped, an unknown name is an error."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    for name in ("flops", "percent", "grams", "energy", "seconds", "thousands"):
        environment.filters[name] = getattr(numbers, name)
    environment.filters["words"] = words
    environment.filters["together"] = together
    return environment.get_template(template).render(**content)


def together(text: str) -> str:
    """Numbers stay on one line with their percent sign."""
    return text.replace(" %", "\u00a0%")


def words(name: str) -> str:
    """A key as people read it: `wrong_label` is wrong label."""
    return name.replace("_", " ")
