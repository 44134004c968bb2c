"""A headless Chromium that reaches no network."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """A function: a page at an address and a width. At the end nothing was asked of the network, and
    no page complained.
    """
    outside, complaints, pages = [], [], []

    def route(one):
        if one.request.url.startswith(("file:", "data:")):
            one.continue_()
        else:
            outside.append(one.request.url)
            one.abort()

    def at(address, width=1400, media=None):
        page = browser.new_page(viewport={"width": width, "height": 900})
        pages.append(page)
        page.route("**/*", route)
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.emulate_media(media=media)
        page.goto(address)
        return page

    yield at
    for page in pages:
        page.close()
    assert (outside, complaints) == ([], [])
