"""What several tests of clustering share."""

import pytest

from winnow.clustering import kmeans_tree


@pytest.fixture(params=[0, kmeans_tree.EXACT])
def any_size(request, monkeypatch):
    """By way of the cells, as with many leaves, and without them."""
    monkeypatch.setattr(kmeans_tree, "EXACT", request.param)
