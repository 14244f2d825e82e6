"""The page of a whole leaderboard in headless Chromium: it opens, works, and fits a phone, light and dark."""

from collections.abc import Iterator
from pathlib import Path
from shutil import which
from types import ModuleType
from typing import Any

import pytest

from timetrial.report.page import html_page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        which("chromium") is None or which("chromedriver") is None,
        reason="needs Chromium and its driver on the path (Debian: apt-get install chromium chromium-driver)",
    ),
    # selenium leaves its log file and sockets to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def page(benchmark_report: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """11 submissions x 14 workloads x 5 studies x 5 trials."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html_page(benchmark_report.synthetic_pool(resamples=1000)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser(benchmark_report: ModuleType) -> Iterator[Any]:
    pytest.importorskip("selenium", reason="needs selenium, of the extra `dev`")
    with benchmark_report.chromium() as driver:
        yield driver


@pytest.fixture
def driver(browser: Any, page: Path) -> Any:
    """The page, opened anew as on a large light screen."""
    screen(browser, 1200, "light")
    browser.get(page.as_uri())
    return browser


def screen(driver: Any, width: int, scheme: str) -> None:
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def visible(driver: Any, selector: str) -> int:
    return driver.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter((e) => e.getClientRects().length).length", selector
    )


def background(driver: Any) -> tuple[int, ...]:
    colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return tuple(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))


def test_it_weighs_less_than_six_megabytes(page: Path) -> None:
    assert page.stat().st_size < 6_000_000


def test_it_opens_without_errors(browser: Any, page: Path, benchmark_report: ModuleType) -> None:
    screen(browser, 1200, "light")
    browser.get_log("browser")  # of the pages before
    seconds = benchmark_report.seconds_to_open(browser, page)
    print(f"opened in {seconds:.2f} s")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0, "nothing is fetched"


def test_submissions_can_be_switched_off(driver: Any) -> None:
    everything = visible(driver, "figure svg g.s3")
    others = visible(driver, "figure svg g.s4")
    assert everything > 14, "in profiles, curves and scatters"
    driver.execute_script("document.querySelector('#profiles input[data-place=\"3\"]').click()")
    assert visible(driver, "figure svg g.s3") == 0
    assert visible(driver, "figure svg g.s4") == others
    boxes = "return [...document.querySelectorAll('input[data-place=\"3\"]')].map((box) => box.checked)"
    assert driver.execute_script(boxes) == [False] * 3, "all legends of the page agree"
    driver.execute_script("document.querySelector('#curves button[data-every=off]').click()")
    assert visible(driver, "figure svg g.s4") == 0
    driver.execute_script("document.querySelector('#curves button[data-every=on]').click()")
    assert visible(driver, "figure svg g.s3") == everything


def test_profiles_by_steps_replace_those_by_time(driver: Any) -> None:
    assert visible(driver, ".profile[data-by=time]") == 1
    assert visible(driver, ".profile[data-by=steps]") == 0
    driver.execute_script("document.querySelector('input[name=by][value=steps]').click()")
    assert visible(driver, ".profile[data-by=time]") == 0
    assert visible(driver, ".profile[data-by=steps]") == 1


def test_values_are_read_with_the_keyboard_and_the_pointer(driver: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    slider = driver.find_element(By.ID, "tau")
    share = driver.find_element(By.CSS_SELECTOR, "output[data-value='0']")
    slider.send_keys(Keys.END)
    assert driver.find_element(By.ID, "tau-value").text == "4.00"
    assert share.text == "100 %"
    slider.send_keys(Keys.HOME)
    assert driver.find_element(By.ID, "tau-value").text == "1.00"
    at_one = share.text
    ActionChains(driver).move_to_element(driver.find_element(By.CSS_SELECTOR, ".profile[data-by=time]")).perform()
    assert 2 < float(driver.find_element(By.ID, "tau-value").text) < 3, "the pointer is in the middle"
    assert int(share.text.removesuffix(" %")) >= int(at_one.removesuffix(" %"))


def test_one_workload_can_be_chosen(driver: Any) -> None:
    panels = visible(driver, "#hyperparameters figure svg")
    assert panels == 7
    driver.execute_script(
        "const s = document.getElementById('workload'); s.value = '2'; s.dispatchEvent(new Event('change'))"
    )
    assert visible(driver, "#hyperparameters g.w1") == 0
    assert visible(driver, "#hyperparameters g.w2") == panels * 11


def test_tab_reaches_the_skip_link_first_and_focus_shows(driver: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    ActionChains(driver).send_keys(Keys.TAB).perform()
    text, outline, left = driver.execute_script(
        "const e = document.activeElement;"
        "return [e.textContent, getComputedStyle(e).outlineStyle, e.getBoundingClientRect().left]"
    )
    assert text == "Skip to the results"
    assert outline == "solid"
    assert left >= 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_down_only(driver: Any, page: Path, scheme: str) -> None:
    screen(driver, 390, scheme)
    driver.get(page.as_uri())
    driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    width, inner = driver.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert (width, inner) == (390, 390)
    scrolled = "return [...document.querySelectorAll('.scroll')].some((e) => e.scrollWidth > e.clientWidth)"
    assert driver.execute_script(scrolled), "wide tables scroll inside"
    assert (max(background(driver)) < 60) == (scheme == "dark")


def test_the_reader_may_choose_dark(driver: Any) -> None:
    assert min(background(driver)) > 240
    ink = "return getComputedStyle(document.querySelector('.s6')).color"
    assert driver.execute_script(ink) == "rgb(27, 29, 32)"
    driver.execute_script("document.getElementById('theme').click()")
    assert max(background(driver)) < 60
    assert driver.execute_script(ink) == "rgb(231, 233, 236)", "black lines turn light"
    assert driver.execute_script("return document.getElementById('theme').getAttribute('aria-pressed')") == "true"


def test_a_page_without_script_is_complete(driver: Any, page: Path) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(page.as_uri())
        assert visible(driver, ".profile") == 2, "both profiles are there"
        assert visible(driver, ".needs-script") == 0, "and nothing that would not work"
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
