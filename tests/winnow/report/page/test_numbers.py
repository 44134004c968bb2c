"""Numbers as people read them."""

import pytest

from winnow.report.page import numbers


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (numbers.flops(9.998e12), "10.0 TFLOPs"),
        (numbers.flops(999_700), "1.00 MFLOPs"),
        (numbers.flops(12), "12.0 FLOPs"),
        (numbers.flops(None), "unknown"),
        (numbers.grams(0.1744), "0.174 g"),
        (numbers.grams(0.0123), "12.3 mg"),
        (numbers.grams(1500), "1.50 kg"),
        (numbers.grams(None), "unknown"),
        (numbers.energy(0.00037), "0.370 Wh"),
        (numbers.energy(None), "unknown"),
        (numbers.seconds(59.6), "60 s"),
        (numbers.seconds(200), "3 min 20 s"),
        (numbers.seconds(7500), "2 h 05 min"),
        (numbers.seconds(None), "unknown"),
        (numbers.percent(0.8317), "83.2 %"),
        (numbers.percent(None), "–"),
        (numbers.digits(0), "0"),
        (numbers.digits(-1.705), "-1.71"),
    ],
)
def test_numbers_as_people_read_them(shown, expected):
    assert shown == expected
