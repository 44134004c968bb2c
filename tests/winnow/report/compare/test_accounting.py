"""What was recorded without being charged."""

from winnow.report.compare import accounting


def test_uncharged_flops_are_readings_and_tasks(world):
    """7 for each arm's readings, 50 for each of its three tasks."""
    assert accounting.read(world.workspace).uncharged == 2 * (7 + 3 * 50)
