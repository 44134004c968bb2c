"""What was recorded without being charged."""

from winnow.report.compare import accounting


def test_uncharged_flops_are_readings_and_tasks(world):
    """7 for each arm's readings, 50 for each of its three tasks."""
    found = accounting.read(world.workspace)
    assert (found.readings, found.tasks) == (2 * 7, 2 * 3 * 50)
