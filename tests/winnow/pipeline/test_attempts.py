"""What interrupted attempts spent, by processes that are killed for real and by sums done by hand."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.config.schema import Carbon
from winnow.ledger.energy import QUALITIES, Energy, EnergyMeter
from winnow.pipeline.attempts import Attempts, since, spent_file, together
from winnow.pipeline.stage import Stage

PENDING = {"pending": True}


def spent(seconds, kwh=None, quality="unknown", **details):
    return Energy(seconds, kwh, None if kwh is None else 400 * kwh, quality, details)


def test_parts_add_up_and_the_worst_quality_stays():
    found = together(
        spent(10.0, 0.1, "counter"), [spent(20.0, 0.3, "estimated"), spent(30.0, 0.6, "counter")]
    )
    assert (found.seconds, found.quality) == (60.0, "estimated")
    assert (found.kwh, found.gco2e) == (pytest.approx(1.0), pytest.approx(400.0))


def test_an_attempt_killed_before_the_first_reading_is_charged_at_the_mean_power_of_the_others():
    found = together(spent(10.0, 0.1, "counter"), [spent(5.0, **PENDING), spent(30.0, 0.3, "counter")])
    assert (found.seconds, found.quality) == (45.0, "estimated")
    assert found.kwh == pytest.approx(0.45)  # 0.4 kWh in 40 s


@pytest.mark.parametrize(
    ("last", "earlier"),
    [
        (spent(10.0, 0.1, "counter"), [spent(20.0)]),  # an attempt where nothing could be measured
        (spent(10.0), [spent(20.0, 0.3, "counter")]),
        (spent(10.0, **PENDING), [spent(5.0, **PENDING)]),  # nothing was read at all
    ],
)
def test_a_part_that_nobody_knows_makes_the_sum_unknown(last, earlier):
    found = together(last, earlier)
    assert (found.kwh, found.gco2e, found.quality) == (None, None, "unknown")
    assert found.seconds == last.seconds + earlier[0].seconds


@given(
    st.lists(st.tuples(st.floats(0.1, 1e5), st.floats(1e-9, 10), st.sampled_from(QUALITIES[:2])), min_size=1)
)
def test_no_part_is_lost(parts):
    energies = [spent(*part) for part in parts]
    found = together(energies[0], energies[1:])
    assert found.seconds == pytest.approx(sum(seconds for seconds, _, _ in parts))
    assert found.kwh == pytest.approx(sum(kwh for _, kwh, _ in parts))


def test_a_part_of_a_process_is_the_difference_of_two_readings():
    found = since(spent(10.0, 0.1, "counter"), spent(30.0, 0.5, "counter"))
    assert (found.seconds, found.kwh, found.gco2e) == (20.0, pytest.approx(0.4), pytest.approx(160.0))
    before_any_reading = since(spent(10.0, **PENDING), spent(40.0, 0.4, "counter"))
    assert before_any_reading.kwh == pytest.approx(0.3)  # at the mean power: 30 of 40 s


def test_a_process_that_is_killed_leaves_what_it_spent(tmp_path):
    """SIGKILL, twice: each attempt finds those before it, to within the second between two writes."""
    path = spent_file(tmp_path / "key.pt")
    script = f"""
        import time
        from pathlib import Path
        from winnow.config.schema import Carbon
        from winnow.pipeline.attempts import Attempts
        from winnow.ledger.energy import EnergyMeter
        attempts = Attempts(Path({str(path)!r}), EnergyMeter(Carbon()))
        attempts.notes["embeddings"] = 7
        attempts.flush()
        print("ready", flush=True)
        time.sleep(60)
    """
    for count in (1, 2):
        command = [sys.executable, "-c", textwrap.dedent(script)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "ready\n"
        first = json.loads(path.read_text())
        while json.loads(path.read_text()) == first:  # until it has written again by itself
            time.sleep(0.05)
        child.send_signal(signal.SIGKILL)
        child.wait()
        here = Attempts(path, EnergyMeter(Carbon()))
        assert len(here.earlier) == count
        assert here.earlier_notes == [{"embeddings": 7}] * count
        told = {name: one["spent"]["seconds"] for name, one in first.items()}
        after = {name: here.earlier[name].seconds for name in told}
        assert sum(after.values()) > sum(told.values())
        here.close()
        kept = json.loads(path.read_text())
        kept.pop(here.meter.name)
        path.write_text(json.dumps(kept))
    here.remove()
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 3}', '{"a": {}}'])
def test_a_damaged_record_counts_as_none(content, tmp_path):
    path = tmp_path / "key.spent.json"
    path.write_text(content)
    attempts = Attempts(path, EnergyMeter(Carbon()))
    attempts.close()
    assert attempts.earlier == {}


def test_the_record_lies_beside_what_is_resumed(tmp_path):
    assert spent_file(tmp_path / "key.pt") == tmp_path / "key.spent.json"
    assert spent_file(tmp_path / "ingest-digits-0a") == tmp_path / "ingest-digits-0a.spent.json"


def test_a_part_that_another_stage_run_paid_for_is_charged_and_nothing_twice(tmp_path):
    """Attempt `a` is charged whole, what it spent on the part included; `b` was of another stage run."""

    def saved(path, **seconds):
        told = {name: asdict(spent(value, 0.1, "counter")) for name, value in seconds.items()}
        path.write_text(json.dumps({name: {"spent": one, "notes": {}} for name, one in told.items()}))

    stage = Stage(None, None, None, EnergyMeter(Carbon()))
    saved(spent_file(tmp_path / "whole.pt"), a=100.0)
    saved(tmp_path / "part.spent.json", a=60.0, b=40.0)
    attempts = stage.charge_attempts(tmp_path / "whole.pt")
    part = Attempts(tmp_path / "part.spent.json", stage.meter, part=True)
    stage.charge_part(part)
    part.close()
    charged = {name: [one.seconds for one in some] for name, some in stage.earlier.items()}
    assert charged == {"a": [100.0], "b": [40.0]}
    assert stage.facts == {}
    assert stage.spent().seconds >= 140.0
    stage.charge_part(Attempts(tmp_path / "unrecorded.spent.json", stage.meter, part=True))
    assert stage.facts["energy_quality"] == "unknown"
    attempts.close()
