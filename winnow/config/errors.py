"""The one exception for a mistake in params.yaml or an override."""

import re
from collections.abc import Iterator
from contextlib import contextmanager


class ParamsError(ValueError):
    """A mistake in params.yaml or an override; its text is the one line that the user sees.

    It names the key, the value, and what is allowed or how to mend it.
    """


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Within this context an error about `dataset.path` is one about `KEY.path`: a source knows its own block
    alone, not the name and the role that it has in params.yaml.
    """
    try:
        yield
    except ValueError as error:
        text = re.sub(r"\bdataset\.(?=(path|source|options|limit|trusted)\b)", f"{key}.", str(error))
        raise type(error)(text) from error.__cause__
