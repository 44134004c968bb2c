"""What a person sees of long work: total, rate and time left."""

from winnow.pipeline import progress


def test_no_bar_where_nobody_watches(capsys):
    assert list(progress.track(range(3), description="x")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_without_a_terminal_a_line_tells_counts_rate_and_time_left():
    """410 items a second: 12,031 of 110,431 took 29.34 s, so the other 98,400 take 240 s."""
    line = progress.line("ingest", "12,000 stored, 31 dropped", 12_031, 12_031 / 410, 98_400, "img")
    assert line == "ingest: 12,000 stored, 31 dropped, 410 img/s, about 4 min left"
    assert progress.line("x", "3 done", 3, 2.0, None) == "x: 3 done, 1.5 it/s"
    assert progress.line("x", "1 done", 1, 4.0, 0) == "x: 1 done, 0.25 it/s"


def test_lines_come_as_often_as_they_should(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert list(progress.track("abc", total=5, description="x", done=2)) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["x: 3 of 5 done", "x: 4 of 5 done", "x: 5 of 5 done"]
    assert "left" in lines[0]
    assert "left" not in lines[2]


def test_the_bar_of_a_terminal_shows_the_same(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stored = iter(range(1, 9))
    items = progress.track(
        "abc", total=8, description="ingest", done=5, status=lambda: f"{next(stored)} stored"
    )
    assert list(items) == ["a", "b", "c"]
    assert "ingest" in capsys.readouterr().err


def test_a_range_of_steps_tells_its_total_and_where_it_resumed(monkeypatch, capsys):
    """A run that resumed at step 40 of 100 was shown as 60 steps from 0."""
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    next(iter(steps := progress.track(range(40, 100), description="x", unit="step")))
    next(steps)
    assert capsys.readouterr().err.startswith("x: 41 of 100 done, ")


def test_every_line_has_the_rate_in_the_unit_of_the_work(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    seconds = iter(range(10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(seconds)))
    list(progress.track(["chunk"] * 2, description="x", unit="img", per=512))
    assert capsys.readouterr().err.splitlines() == [
        "x: 1 of 2 done, 512 img/s, about 1 s left",
        "x: 2 of 2 done, 512 img/s",
    ]


def test_times_are_written_in_the_unit_that_fits():
    assert [progress.clock(seconds) for seconds in (3, 720, 12_600)] == ["3 s", "12 min", "3.5 h"]
