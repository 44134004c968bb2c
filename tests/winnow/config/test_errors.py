"""An error of a source is told as one about the key that its user wrote."""

import pytest

from winnow.config.errors import ParamsError, naming


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("dataset.path: 'a' is no folder", "datasets.tasks.birds.path: 'a' is no folder"),
        (
            "dataset.options.image: null, or set dataset.path",
            "datasets.tasks.birds.options.image: null, or set datasets.tasks.birds.path",
        ),
        ("the dataset. path", "the dataset. path"),
        ("my_dataset.path and dataset.pathology", "my_dataset.path and dataset.pathology"),
    ],
)
@pytest.mark.parametrize("kind", [ParamsError, ValueError])
def test_a_source_names_the_key_of_its_dataset(kind, told, read):
    cause = OSError("why")
    with pytest.raises(kind) as caught, naming("datasets.tasks.birds"):
        raise kind(told) from cause
    assert str(caught.value) == read
    assert type(caught.value) is kind
    assert caught.value.__cause__ is cause


def test_other_errors_pass():
    with pytest.raises(KeyError, match="dataset.path"), naming("datasets.pool.a"):
        raise KeyError("dataset.path")
