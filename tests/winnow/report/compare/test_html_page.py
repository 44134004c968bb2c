"""The page in a browser: two arms with three seeds each, in headless Chromium."""

import re

import pytest

from winnow.report.compare.write import write

A4 = 688  # CSS pixels between margins of 14 mm
pytestmark = pytest.mark.slow
FIRST = "table.sortable tbody tr:first-child th"


@pytest.fixture(scope="module")
def address(worlds, tmp_path_factory):
    root, out = tmp_path_factory.mktemp("world"), tmp_path_factory.mktemp("compare")
    world = worlds(root, seeds=3)
    write(world.params, world.workspace, out)
    return (out / "report.html").as_uri()


@pytest.fixture
def visit(open_page, address):
    """A function: the page at a width in pixels."""
    return lambda width=1400, media=None: open_page(address, width, media)


def wide(page):
    """Tables, pictures and blocks of text that reach beyond the page."""
    return page.evaluate(
        """() => [...document.querySelectorAll("table, img, pre")]
            .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
            .map((one) => one.outerHTML.slice(0, 80))"""
    )


def open_all(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


def test_the_table_sorts_by_click_and_by_keyboard(visit):
    page = visit()
    heading = page.locator("table.sortable thead th", has_text="linear top").first
    assert page.locator(FIRST).inner_text() == "chosen"
    heading.click()
    assert (heading.get_attribute("aria-sort"), page.locator(FIRST).inner_text()) == ("descending", "chosen")
    heading.click()
    assert (heading.get_attribute("aria-sort"), page.locator(FIRST).inner_text()) == ("ascending", "plain")
    heading.press("Enter")
    assert (heading.get_attribute("aria-sort"), page.locator(FIRST).inner_text()) == ("descending", "chosen")


def test_details_open_and_show_settings_and_commands(visit):
    page = visit()
    command = page.locator("pre.commands")
    assert not command.is_visible()
    page.get_by_text("How to repeat one arm").click()
    assert "dvc repro pretrain@plain-s0 linear_probe@plain-s0.held_out" in command.inner_text()
    page.get_by_text("Where the arms' settings differ").click()
    assert page.get_by_role("rowheader", name="policy.filter_ratio").is_visible()
    page.get_by_text("Each seed", exact=True).click()
    assert page.get_by_role("rowheader", name="plain-s2").is_visible()


def test_views_of_the_course_by_click_and_by_keyboard(visit):
    page = visit()
    shown = lambda: [one.get_attribute("class") for one in page.locator(".views figure:visible").all()]  # noqa: E731
    assert shown() == ["of-flops"]
    page.get_by_text("against seconds", exact=True).click()
    assert shown() == ["of-seconds"]
    page.keyboard.press("ArrowRight")
    assert shown() == ["of-examples_seen"]


def test_speedups_have_intervals_over_seeds(visit):
    page = visit()
    text = page.locator("main").inner_text()
    assert "Two seeds of one control are up to 4.0 points apart." in text
    assert "At equal FLOPs, chosen, the best policy, is ahead of plain: " in text
    heading = page.get_by_role("heading", name="How much sooner: until an arm is as good")
    row = heading.locator("xpath=following::table[1]").locator("tbody tr").inner_text()
    assert re.search(r"^chosen\s.*\s1\.35 \(1\.3\d to 1\.3\d\)", row), row


def test_a_phone_scrolls_tables_and_not_the_page(visit):
    page = visit(width=390)
    open_all(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    table = page.locator(".scroll:has(table.sortable)")
    assert table.evaluate("(one) => one.scrollWidth > one.clientWidth")
    table.evaluate("(one) => { one.scrollLeft = 200; }")
    assert page.locator(FIRST).bounding_box()["x"] >= 0  # the arm's name stays


def test_on_paper_every_view_is_shown_and_no_table_is_cut(visit):
    page = visit(width=A4, media="print")
    assert page.locator(".views figure:visible").count() == 3
    open_all(page)
    assert wide(page) == []
    printed = page.pdf(format="A4", prefer_css_page_size=True)
    assert printed.startswith(b"%PDF")
