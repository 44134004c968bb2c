"""curve.csv: what is written is read."""

from winnow.evaluation.curve import read_curve, write_curve

ROWS = [
    {"step": 1, "flops": 10**15 + 1, "loss": 0.1, "val_top1": 0.25},
    {"step": 2, "flops": 2 * 10**15, "loss": 1e-7, "val_top1": 1.0},
]


def test_what_is_written_is_read(tmp_path):
    write_curve(tmp_path / "curve.csv", ROWS)
    lines = (tmp_path / "curve.csv").read_text().splitlines()
    assert lines == [
        "step,flops,loss,val_top1",
        "1,1000000000000001,0.1,0.25",
        "2,2000000000000000,1e-07,1.0",
    ]
    assert read_curve(tmp_path / "curve.csv") == ROWS


def test_no_file_is_no_reading(tmp_path):
    assert read_curve(tmp_path / "curve.csv") == []
