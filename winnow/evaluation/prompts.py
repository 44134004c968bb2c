"""Class names as prompts, and a class as the mean of its prompts (CLIP, arXiv 2103.00020, section 3.1.4)."""

from collections.abc import Callable, Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor

from models.text import tokenize

PLACE = "{}"  # of the class's name in a template


def words(classes: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """The words for each class: as `given`, else its name in lower case with spaces for underscores.

    Raises:
        ValueError: for words of a class that there is not.
    """
    if strangers := [name for name in given if name not in classes]:
        raise ValueError(f"{strangers[0]!r} is no class; the classes are {', '.join(classes[:10])}")
    return [given.get(name, name.replace("_", " ").lower()) for name in classes]


def class_embeddings(
    words: Sequence[str], templates: Sequence[str], context: int, texts: Callable[[Tensor], Tensor]
) -> Tensor:
    """The mean of the unit-norm embeddings of each class's prompts, of norm 1 again, (classes, E).

    Args:
        texts: tokens (n, context) -> unit-norm embeddings (n, E).
    """
    prompts = [template.replace(PLACE, word) for word in words for template in templates]
    each = texts(tokenize(prompts, context)).view(len(words), len(templates), -1)
    return F.normalize(each.mean(dim=1), dim=-1)
