"""What must be said of figures that were made only to see that everything runs."""

from winnow.config.schema import Params

DEBUG = "debug"  # the file of conf/scale whose runs are such


def wiring(params: Params) -> str | None:
    """The note above every table of such figures; None where they are results."""
    if params.scale != DEBUG:
        return None
    return (
        "Wiring, not results: scale=debug runs every stage on a sample for a few steps. These figures show "
        "that it works; no order of arms can be read from them."
    )
