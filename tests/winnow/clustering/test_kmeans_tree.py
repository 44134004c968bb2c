"""The cluster tree: exact where all cells are probed, and its clusters shared out by size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import planted, random_units
from winnow.clustering.kmeans_tree import Tree, assign, grow, share


@pytest.mark.usefixtures("any_size")
def test_assignment_with_all_cells_probed_is_exact():
    vectors, _ = planted(3000)
    tree = grow(vectors, 200)
    leaves, similarities = assign(vectors, tree, 2, probes=len(tree.cells))
    products = vectors @ tree.leaves.T
    expected = np.sort(products, axis=1)[:, ::-1][:, :2]
    assert tree.leaves.shape == (200, 64)
    assert np.allclose(similarities, expected, atol=1e-5)
    assert np.allclose(np.take_along_axis(products, leaves.astype(int), 1), expected, atol=1e-5)


@pytest.mark.usefixtures("any_size")
def test_a_row_has_no_more_leaves_than_there_are():
    rows = random_units(10, 0, width=4)
    leaves, _ = assign(rows, grow(rows, 1), 3)
    assert leaves.tolist() == [[0, -1, -1]] * 10
    two = Tree(rows[:2], rows[:2], np.array([0, 1, 2]))
    assert (assign(rows, two, 3, probes=2)[0][:, 2] == -1).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_clusters_are_shared_by_size(sizes, data):
    total = data.draw(st.integers(len(sizes), sum(sizes)))
    shares = share(total, np.array(sizes))
    assert shares.sum() == total
    assert ((shares >= 1) & (shares <= sizes)).all()


def test_more_clusters_than_rows_is_one_line():
    with pytest.raises(ValueError, match="^clusters: 200 of 150 rows; ask for 150 or fewer"):
        grow(random_units(150, 0), 200)
