"""Bounded, reproducible fuzzing for tests: `from tests.fuzzing import FEW, flipped`."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BOUNDED = settings(
    max_examples=250,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
FEW = settings(BOUNDED, max_examples=120)


def flipped(whole):
    """Flips and cuts of a file; the footer of a parquet is drawn as often as its pages."""
    place = st.one_of(st.integers(0, len(whole) - 1), st.integers(max(0, len(whole) - 700), len(whole) - 1))

    def mutate(edits, cut):
        data = bytearray(whole)
        for at, value in edits:
            data[at] = value
        return bytes(data[:cut] if cut is not None else data)

    edits = st.lists(st.tuples(place, st.integers(0, 255)), max_size=6)
    return st.builds(mutate, edits, st.one_of(st.none(), place))
