"""The page in a real browser: all it can do, by mouse and by keyboard alone, at every width, under hostile names."""

from __future__ import annotations

import base64
import importlib
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from running import Sttpd, starter
from web import Web, serve

webdriver = pytest.importorskip("selenium.webdriver", reason="the extra `browser`")
By: Any = importlib.import_module("selenium.webdriver.common.by").By
Keys: Any = importlib.import_module("selenium.webdriver.common.keys").Keys

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        shutil.which("chromium") is None or shutil.which("chromedriver") is None, reason="no Chromium and its driver"
    ),
]
PATIENCE_SECONDS = 20.0
PROXY = [sys.executable, "-c", "import sys; from sttp_reactor.cli.sttp_proxy import main; sys.exit(main())"]
BINARY = {"Content_Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    folder = tmp_path_factory.mktemp("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={folder}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield driver
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def shared_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serve(tmp_path_factory.mktemp("served"), "http.write=true") as web:
        yield web


class Page:
    """What a person does and sees."""

    def __init__(self, browser: Any, web: Web) -> None:
        self.browser, self.web = browser, web
        browser.set_window_size(1280, 900)
        self.open()

    def open(self) -> None:
        self.browser.get(f"http://127.0.0.1:{self.web.port}/")
        self.until(lambda: self.one("#state").text == "live")
        self.until(lambda: self.all("#tree > li"))

    def one(self, selector: str) -> Any:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.browser.find_elements(By.CSS_SELECTOR, selector))

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.browser.find_element(By.TAG_NAME, "body").text
            time.sleep(0.05)

    def names(self) -> list[str]:
        return [each.text for each in self.all("#tree .name")]

    def click(self, name: str) -> None:
        self.until(lambda: name in self.names())
        next(each for each in self.all("#tree .name") if each.text == name).click()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.browser.switch_to.active_element.send_keys(key)

    def focused(self) -> str:
        return str(self.browser.switch_to.active_element.get_attribute("id"))

    def screenshot(self, file: Path) -> None:
        """Of all of the page: for people to look at."""
        captured = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
        file.write_bytes(base64.b64decode(captured["data"]))

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] != "INFO"]


@pytest.fixture
def page(browser: Any, shared_page: Web) -> Iterator[Page]:
    page = Page(browser, shared_page)
    page.complaints()
    yield page
    browser.get("about:blank")
    shared_page.client.close()


def put(page: Page, path: str, text: str) -> None:
    assert page.web.ask("PUT", f"/files{path}", text.encode(), **BINARY).status in (201, 204)


def test_a_snippet_is_found_read_and_changed(page: Page) -> None:
    put(page, "/tree/inner/a.txt", "first")
    page.open()
    page.click("tree/")
    page.click("inner/")
    page.click("a.txt")
    page.until(lambda: page.one("#file-title").text == "/tree/inner/a.txt")
    assert page.one("#text").get_attribute("value") == "first"
    assert page.one("#count").text == "5 of 160 characters"
    page.one("#text").clear()
    page.one("#text").send_keys("Grüße 😀")
    page.browser.execute_script("")
    page.one("#save").click()
    page.until(lambda: page.one("#saved").text == "Saved.")
    assert page.web.get("/files/tree/inner/a.txt").body.decode().startswith("Grüße")
    assert page.complaints() == []


def test_characters_are_counted_as_the_server_counts_them(page: Page) -> None:
    put(page, "/counted", "x")
    page.open()
    page.click("counted")
    page.until(lambda: page.one("#edit").is_displayed())
    typed = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
    page.browser.execute_script(typed, page.one("#text"), "\U0001f600" * 160)
    assert page.one("#count").text == "160 of 160 characters"
    page.one("#save").click()
    page.until(lambda: page.one("#saved").text == "Saved.")
    page.browser.execute_script(typed, page.one("#text"), "\U0001f600" * 161)
    page.one("#save").click()
    assert page.one("#text-error").text == "1 characters too many."
    page.browser.execute_script(typed, page.one("#text"), "a\nb")
    page.one("#save").click()
    assert "line break" in page.one("#text-error").text
    assert page.web.get("/files/counted").body.decode() == "\U0001f600" * 160
    assert page.complaints() == []


def test_a_change_by_somebody_else_is_not_overwritten(page: Page) -> None:
    put(page, "/contested", "mine")
    page.open()
    page.click("contested")
    page.until(lambda: page.one("#edit").is_displayed())
    put(page, "/contested", "theirs")
    page.one("#text").send_keys("!")
    page.one("#save").click()
    page.until(lambda: "read it again" in page.one("#text-error").text)
    assert page.web.get("/files/contested").body == b"theirs"
    page.one("#reload").click()
    page.until(lambda: page.one("#text").get_attribute("value") == "theirs")


def test_created_and_deleted_by_keyboard_alone(page: Page) -> None:
    page.one("body").send_keys(Keys.TAB)  # the link that skips to the text
    page.press(Keys.TAB)
    assert page.browser.switch_to.active_element.get_attribute("role") == "treeitem"
    page.press(Keys.TAB)
    assert page.focused() == "create-path"
    page.press("/by/keys.txt", Keys.ENTER)
    page.until(lambda: page.focused() == "text")
    page.press("typed", Keys.TAB)
    assert page.focused() == "save"
    page.press(Keys.ENTER)
    page.until(lambda: page.one("#saved").text == "Saved.")
    assert page.web.get("/files/by/keys.txt").body == b"typed"
    page.until(lambda: "keys.txt" in page.names())
    page.open()
    page.one("body").send_keys(Keys.TAB)
    page.press(Keys.TAB)
    while page.browser.switch_to.active_element.get_attribute("data-path") != "/by/":
        page.press(Keys.ARROW_DOWN)
    page.press(Keys.ARROW_RIGHT)
    page.until(lambda: "keys.txt" in page.names())
    page.press(Keys.ARROW_RIGHT, Keys.ENTER)
    page.until(lambda: page.one("#file-title").text == "/by/keys.txt")
    page.press(Keys.ARROW_LEFT)  # to its directory
    assert page.browser.switch_to.active_element.get_attribute("data-path") == "/by/"
    page.press(*[Keys.TAB] * 4)
    page.until(lambda: page.focused() in ("text", "save", "delete"))
    while page.focused() != "delete":
        page.press(Keys.TAB)
    page.press(Keys.ENTER)
    page.browser.switch_to.alert.accept()
    page.until(lambda: "is deleted" in page.one("#file-title").text)
    assert page.web.get("/files/by/keys.txt").status == 404


def test_hostile_names_and_texts_are_shown_and_not_obeyed(page: Page) -> None:
    names = ["<img_src=x>", "\u202egnp.exe", "&lt;b&gt;", "'\"--><script>", "javascript:alert(1)"]
    (page.web.folder / "hostile").mkdir(exist_ok=True)
    for name in names:
        (page.web.folder / "hostile" / name).write_text('<script>document.title="owned"</script>\u202e')
    page.open()
    page.click("hostile/")
    page.until(lambda: len(page.names()) > len(names))
    shown = page.names()
    for name in names:
        assert name.replace("\u202e", "\\u{202e}") in shown
    for name in shown:
        if name in names:
            page.click(name)
            page.until(lambda name=name: page.one("#file-title").text.endswith(name))  # type: ignore[misc]
    assert "\\u{202e}" in page.one("#invisible").text
    assert page.browser.title == "sttp_reactor"
    assert page.all("script:not([src]), img") == []
    assert page.complaints() == []
    page.browser.get(f"http://127.0.0.1:{page.web.port}/files/hostile/")  # the list without a script
    assert "\\u202egnp.exe" in page.browser.page_source
    assert page.all("img, script") == []
    page.browser.find_element(By.LINK_TEXT, "javascript:alert(1)").click()
    page.until(lambda: page.browser.current_url.endswith("/files/hostile/javascript%3Aalert%281%29"))


def test_figures_move_and_the_loop_turns(page: Page, tmp_path: Path) -> None:
    put(page, "/busy", "x")
    page.one("#watch").click()
    for _ in range(200):
        page.web.get("/files/busy")
    page.until(
        lambda: "live" in page.one("#state").text and "longest of the last second" in page.one("#turn-said").text
    )
    page.until(lambda: "highest column" in page.one("#history-said").text)
    outputs = {each.text.splitlines()[0]: each.text for each in page.all("#plots figure")}
    assert len(outputs) == 10
    assert "MiB" in outputs["Memory"]
    assert re.search(r"HTTP [1-9]", outputs["Connections"])
    page.until(lambda: len(page.one("#plots figure:last-child path").get_attribute("d")) > 8)
    assert page.complaints() == []


def test_a_proxy_shows_its_servers(browser: Any, tmp_path: Path) -> None:
    with starter(tmp_path) as start, ExitStack() as stack:
        servers = [start(docroot=f"files-{number}") for number in range(2)]
        names = [server.addresses[0] for server in servers]
        for server in servers:
            server.converse(b"CREATE /a text\n")
        options = [word for option in ("http.enabled=true", "http.port=0", "health.fall=1") for word in ("-o", option)]
        proxy = Sttpd(["-p", "0", "-s", ",".join(names), *options], tmp_path, command=PROXY)
        stack.callback(proxy.finish)
        page = Page(browser, Web(proxy))
        page.complaints()

        # At once, because the page makes them anew each second.
        script = "return [...document.querySelectorAll('#servers tbody tr')].map((r) => r.innerText.split('\\t'))"

        def rows() -> dict[str, list[str]]:
            return {name.strip(): cells for name, *cells in browser.execute_script(script)}

        page.until(lambda: rows().keys() == set(names))
        assert {state for state, *_ in rows().values()} == {"up"}
        servers[0].stop()
        page.until(lambda: [rows().get(name, [""])[0] for name in names] == ["not asked", "up"])
        page.screenshot(tmp_path / "servers.png")
        assert page.complaints() == []
        browser.get("about:blank")


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_fits(page: Page, width: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    put(page, "/fits/" + "n" * 32, "w" * 160)
    page.open()
    page.browser.set_window_size(width, 900)
    page.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        page.click("fits/")
        page.click("n" * 32)
        page.one("#watch").click()
        page.until(lambda: page.one("#edit").is_displayed() and page.one("#turn-said").text)
        script = "return [document.documentElement.scrollWidth, window.innerWidth]"
        needed, there = page.browser.execute_script(script)
        assert needed <= there == width
        for scheme in ("light", "dark"):
            page.browser.execute_cdp_cmd(
                "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
            )
            colour = page.one("body").value_of_css_property("background-color")
            assert colour == {"light": "rgba(246, 247, 249, 1)", "dark": "rgba(17, 19, 24, 1)"}[scheme]
            page.screenshot(tmp_path / f"page-{width}-{scheme}.png")
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_read_only_it_offers_nothing_to_write(browser: Any, tmp_path: Path) -> None:
    with serve(tmp_path) as web:
        web.write("a", b"text")
        page = Page(browser, web)
        page.click("a")
        page.until(lambda: page.one("#edit").is_displayed())
        assert not page.one("#create").is_displayed()
        assert not page.one("#buttons").is_displayed()
        assert page.one("#text").get_attribute("readonly")
        browser.get("about:blank")


def test_a_flame_graph_is_searched_and_zoomed(browser: Any, tmp_path: Path) -> None:
    with serve(tmp_path, "http.debug=true") as web:
        browser.get_log("browser")
        browser.get(f"http://127.0.0.1:{web.port}/debug/profile?seconds=0.3")
        browser.find_element(By.ID, "search").click()
        browser.switch_to.alert.send_keys("reactor:reactor.")
        browser.switch_to.alert.accept()
        assert re.fullmatch(r"[\d.]+ % in reactor:reactor\.", browser.find_element(By.ID, "said").text)
        assert browser.find_elements(By.CSS_SELECTOR, "g.found")
        frames = browser.find_elements(By.CSS_SELECTOR, "g")
        frames[-1].find_element(By.TAG_NAME, "rect").click()
        width = frames[-1].find_element(By.TAG_NAME, "rect").get_attribute("width")
        assert float(width) == pytest.approx(1200)
        browser.save_screenshot(str(tmp_path / "flames.png"))
        assert [entry["message"] for entry in browser.get_log("browser")] == []
        browser.get("about:blank")


def test_a_page_of_another_site_learns_and_changes_nothing(browser: Any, shared_page: Web, tmp_path: Path) -> None:
    shared_page.write("private", b"secret")
    target = f"http://127.0.0.1:{shared_page.port}/files/private"
    with serve(tmp_path) as other:  # another port is another origin
        browser.get(f"http://localhost:{other.port}/healthz")
        script = """
          const [target, done] = arguments;
          const attempts = [
            fetch(target), fetch(target, {method: "PUT", body: "x"}),
            fetch(target, {method: "POST", mode: "no-cors", body: "x"}),
            fetch(target, {method: "DELETE"}), fetch(target, {mode: "no-cors"}).then((it) => it.text()),
          ];
          const said = (it) => it.value === undefined ? it.status : String(it.value);
          Promise.allSettled(attempts).then((all) => done(all.map(said)));
        """
        told = browser.execute_async_script(script, target)
        assert "secret" not in str(told)
        browser.get("about:blank")
    assert (shared_page.folder / "private").read_bytes() == b"secret"
    shared_page.client.close()
