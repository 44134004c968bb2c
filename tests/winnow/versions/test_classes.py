"""Whether the classes of a pool and of its reference meet, by their names."""

import json
import re

import pytest

from winnow.pool.parts import Origin
from winnow.pool.pool import Pool
from winnow.versions.classes import check_meet, unmatched


@pytest.fixture
def joined(tmp_path, write):
    """A function: datasets with these classes, (names, trusted) each, as one pool without an image."""

    def make(*parts):
        origins = []
        for number, (names, trusted) in enumerate(parts):
            folder = tmp_path / f"part{number}"
            write(folder, [])
            (folder / "classes.json").write_text(json.dumps(names))
            origins.append(Origin(folder.name, folder, trusted=trusted))
        return Pool.join(origins)

    return make


def test_classes_that_only_one_side_has_are_named(joined):
    pool = joined((["cat", "dog"], False), (["emu", "dog"], False), (["fox", "dog"], True), (["emu"], True))
    assert unmatched(pool) == ("classes: 2 meet by name; of the reference alone: fox; of the pool alone: cat")
    check_meet(pool, "supervised")


def test_no_common_class_is_named_with_both_sides(joined):
    many = [f"bird{number}" for number in range(7)]
    pool = joined((many, False), (["cat", "dog"], True))
    given = "its classes (cat, dog) are none of the pool's (bird0, bird1, bird2, bird3, bird4 and 2 more)"
    mend = "and method supervised compares them by name; rename them, or take a method without labels"
    with pytest.raises(ValueError, match=f"^{re.escape(f'datasets.reference: {given}, {mend}')}$"):
        check_meet(pool, "supervised")
    assert unmatched(pool).startswith(
        "classes: 0 meet by name; of the reference alone: cat, dog; of the pool"
    )


def test_a_reference_with_classes_and_a_pool_without_do_not_meet(joined):
    pool = joined(([], False), (["cat"], True))
    with pytest.raises(ValueError, match=re.escape("its classes (cat) are none of the pool's (none)")):
        check_meet(pool, "supervised")
    assert unmatched(pool) == "classes: 0 meet by name; of the reference alone: cat; of the pool alone: none"


@pytest.mark.parametrize(
    "parts",
    [
        [(["cat", "dog"], False), (["dog", "cat"], True)],
        [(["cat"], False), (["dog"], False)],  # no reference of its own
        [(["cat"], False), ([], True)],  # one without labels
    ],
)
def test_where_nothing_is_unmatched_there_is_no_line(joined, parts):
    pool = joined(*parts)
    assert unmatched(pool) is None
    check_meet(pool, "supervised")
