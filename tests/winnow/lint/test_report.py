"""The printed report, and names that occur twice."""

from winnow.lint.report import Once, Report


def test_reasons_are_sorted_by_how_often_and_names_are_a_few():
    report = Report("a pool", good=2)
    for n in range(4):
        report.add("blur", f"b{n}")
    report.add("tiny", "t")
    report.notes.append("not all")
    kind, *lines = report.lines()
    assert kind == "a pool"
    assert [line.strip() for line in lines] == [
        "4  blur: b0, b1, b2, ...",
        "1  tiny: t",
        "note: not all",
        "2  good, 5 wrong",
    ]


def test_names_of_any_script_are_on_one_line():
    report = Report("shards")
    report.add("no_image", "图\n片")
    report.add("no_image", "\u202egpj")  # right to left: would turn the rest of the line round
    assert list(report.lines())[1].endswith(r"no_image: \u56fe\n\u7247, \u202egpj")


def test_a_name_with_another_value_differs():
    seen = Once()
    assert [seen.differs("a", b"1"), seen.differs("a", b"1"), seen.differs("a", b"2")] == [None, False, True]
    assert seen.differs("b", b"1") is None
