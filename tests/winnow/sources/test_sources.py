"""What every source must have, found as the plug-ins of its room."""

import pytest

from winnow.config.plugins import load_plugin, plugins


@pytest.mark.parametrize("name", plugins("winnow.sources"))
def test_every_source_keeps_the_contract(name):
    source = load_plugin("winnow.sources", name)
    assert callable(source.read)
    assert callable(source.classes)
    assert "licence" in source.__doc__.lower()
    assert "checksum" in source.__doc__.lower()
