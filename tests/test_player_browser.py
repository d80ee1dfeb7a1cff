"""The tape player in a real browser: headless Chromium, where it is installed with its driver and Selenium is there."""

from __future__ import annotations

import importlib.util
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad7 as tg
from tests import drawn
from tests.test_player import HOSTILE
from tinygrad7.draw.player import save_player
from tinygrad7.draw.values import statistics

pytestmark = pytest.mark.host

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium")
HERE = DRIVER is not None and CHROMIUM is not None and importlib.util.find_spec("selenium") is not None
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


class Page:
    """A player in a window, with the questions that the tests ask."""

    def __init__(self, driver: Any, folder: Path) -> None:
        self.driver, self.folder = driver, folder

    def open(self, y: Any, width: int = 1280, height: int = 800, dark: bool = False, **options: Any) -> Page:
        path = self.folder / "player.html"
        save_player(y, path, **options)
        self.size(width, height)
        self.colours("dark" if dark else "light")
        self.driver.get(path.as_uri())
        return self

    def size(self, width: int, height: int) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)

    def colours(self, scheme: str) -> None:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def js(self, code: str, *arguments: Any) -> Any:
        return self.driver.execute_script(code, *arguments)

    def keys(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).textContent", selector))

    def count(self, selector: str) -> int:
        return int(self.js("return document.querySelectorAll(arguments[0]).length", selector))

    def focused(self) -> str:
        return str(self.js("const e = document.activeElement; return e.id || e.className || e.tagName"))

    def transform(self) -> str:
        return str(self.js("return document.getElementById('world').getAttribute('transform')"))

    def scale(self) -> float:
        return float(self.transform().partition("scale(")[2].rstrip(")"))

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def complaints(self) -> list[str]:
        return [line["message"] for line in self.driver.get_log("browser")]


if HERE:
    from selenium import webdriver
    from selenium.webdriver.common.keys import Keys

    @pytest.fixture(scope="module")
    def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in FLAGS.split():
            options.add_argument(flag)
        options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        yield browser
        browser.quit()

    @pytest.fixture
    def player(driver: Any, tmp_path: Path) -> Iterator[Page]:
        page = Page(driver, tmp_path)
        page.complaints()
        yield page
        assert page.complaints() == []  # no error, nothing refused by the page's own policy
        assert page.js("return performance.getEntriesByType('resource').length") == 0

    def test_keys_step_forward_and_back_through_every_entry(player: Page) -> None:
        y = drawn.tanh_rnn(3)
        player.open(y)
        steps = int(player.js("return +document.getElementById('slider').max"))
        assert steps == 28 + 1 + 31  # one event for the four leaves, the seed, and every entry backward
        computed = player.count("#drawing .box.has-value")
        for place in range(1, steps + 1):
            player.keys(Keys.ARROW_RIGHT)
            assert player.js("return +document.getElementById('slider').value") == place
            assert player.count("#drawing .box.now") >= 1
            now = player.count("#drawing .box.has-value")
            if place <= 29:  # the seed is the first bar
                assert player.count("#drawing .box.has-bar") == (place == 29)
            assert now >= computed
            computed = now
        assert computed == player.count("#drawing .box")
        y.backward()
        grads = [statistics(n.grad) for n in tg.Tape(y).nodes if getattr(n, "grad", None) is not None]
        sums = player.js("return [...document.querySelectorAll('.weight .sum')].map(e => e.textContent)")
        assert [" ".join(s.split()) for s in sums] == [" ".join(g.split()) for g in grads]
        player.keys(Keys.ARROW_LEFT)
        assert player.js("return +document.getElementById('slider').value") == steps - 1
        player.keys(Keys.HOME)
        assert player.js("return +document.getElementById('slider').value") == 0
        assert player.count("#drawing .box.has-bar") == 0
        player.keys(Keys.END)
        assert player.text("#status").startswith("Backward · step 60 of 60")

    def test_a_step_shows_the_op_its_rule_and_what_it_takes(player: Page) -> None:
        player.open(drawn.diamond())
        player.keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        assert player.text("#card h2") == "exp"
        assert player.text("#card .formula .on") == "y = eˣ"
        assert player.count("#drawing .edge.now") == 1
        assert player.text("#drawing .box.giver .label") == "x"
        assert player.js("return getComputedStyle(document.querySelector('.box.now .value')).visibility") == "visible"
        assert player.js("return getComputedStyle(document.querySelector('.box.now .bar')).visibility") == "hidden"
        player.keys(Keys.END, Keys.ARROW_LEFT)
        assert player.text("#card h2") == "exp"
        assert player.text("#card .formula .on") == "x̄ = ȳ y"
        assert "x̄ has 2 of 2" in player.text("#card")
        assert player.js("return getComputedStyle(document.querySelector('.box.now .bar')).visibility") == "visible"

    def test_it_plays_and_pauses(player: Page) -> None:
        player.open(drawn.diamond())
        player.js("document.getElementById('speed').value = '120'")
        player.keys(" ")
        assert player.js("return document.documentElement.classList.contains('playing')")
        deadline = time.monotonic() + 10
        while player.js("return document.documentElement.classList.contains('playing')"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert player.js("const s = document.getElementById('slider'); return s.value === s.max")
        player.keys(" ", " ")
        assert not player.js("return document.documentElement.classList.contains('playing')")

    def test_it_works_with_the_keyboard_alone(player: Page) -> None:
        player.open(drawn.mlp())
        seen = []
        for _ in range(6 + player.count(".cluster") + 5):
            player.keys(Keys.TAB)
            seen.append(player.focused())
            if seen[-1] == "skip":
                assert player.js("return document.activeElement.getBoundingClientRect().left") >= 0
            assert player.js("return document.activeElement.matches(':focus-visible')")
        blocks = [f"c{k}" for k in range(player.count(".cluster"))]
        first = ["skip", "zoom-out", "zoom-in", "fit", "fold-all", "theme"]
        assert seen[:6] == first
        assert sorted(seen[6 : 6 + len(blocks)]) == blocks
        assert seen[6 + len(blocks) : 11 + len(blocks)] == [
            "play",
            "next",
            "last",
            "slider",
            "speed",
        ]  # back is disabled
        for name in [*first, *blocks, "play", "slider", "speed"]:
            label = player.js(
                "const e = document.getElementById(arguments[0]) || document.querySelector('.skip');"
                "return e.getAttribute('aria-label') || (e.labels && e.labels[0] || e).textContent.trim()",
                name,
            )
            assert label, name

    def test_blocks_close_and_open_by_key(player: Page) -> None:
        player.open(drawn.mlp())
        while not player.focused().startswith("c"):
            player.keys(Keys.TAB)
        name = player.focused()
        outline = player.js(
            "return getComputedStyle(document.querySelector(`#${arguments[0]} > rect`)).strokeWidth", name
        )
        assert float(outline.removesuffix("px")) >= 3
        for key in (Keys.ENTER, " "):
            player.keys(key)
            assert player.js("return document.activeElement.getAttribute('aria-expanded')") == "false"
            assert player.focused() == name
            player.keys(key)
            assert player.js("return document.activeElement.getAttribute('aria-expanded')") == "true"
        assert player.js("return +document.getElementById('slider').value") == 0

    VISIBLE = """
        const inside = (e) => getComputedStyle(e).display !== 'none' && e.getBoundingClientRect().width > 0;
        const solid = [...document.querySelectorAll('#drawing .box .frame, #drawing .cluster.closed > rect')];
        const corners = (r) => [r.left, r.top, r.right, r.bottom];
        return solid.filter(inside).map(e => corners(e.getBoundingClientRect()));
    """

    INSIDE = """
        const lids = [...document.querySelectorAll('#drawing .cluster.closed > rect')].map(e => e.getBBox());
        const within = (p) => lids.some(r => p.x > r.x + 1 && p.x < r.x + r.width - 1
                                          && p.y > r.y + 1 && p.y < r.y + r.height - 1);
        const lines = [...document.querySelectorAll('#drawing .edge:not(.hidden) .line')];
        return lines.filter(e => within(e.getPointAtLength(0)) || within(e.getPointAtLength(e.getTotalLength())))
            .map(e => e.getAttribute('d'));
    """  # edges that end under a closed block, not at its border
    LIDS = """
        return [...document.querySelectorAll('#drawing .cluster.closed')].map(e => {
            const [r, t] = [e.querySelector('rect').getBBox(), e.querySelector('text').getBBox()];
            return [r.width, r.height, t.width];
        });
    """

    @pytest.mark.parametrize(
        ("make", "options"),
        [
            (drawn.tanh_rnn, {}),
            (drawn.lstm, {"expand": True}),
            (drawn.residual_stack, {}),
            (drawn.tanh_rnn, {"time": "TB"}),
        ],
        ids=["tanh_rnn", "lstm", "residual_stack", "downwards"],
    )
    def test_closed_blocks_hide_their_boxes_and_nothing_overlaps(player: Page, make: Any, options: Any) -> None:
        player.open(make(), **options)
        whole = player.js("return document.getElementById('world').innerHTML")
        blocks = player.count(".cluster")
        rng = np.random.default_rng(0)
        for k in [*rng.permutation(blocks)[:6], "all"]:
            if k == "all":
                player.click("#fold-all")
                if player.text("#fold-all") == "Close blocks":
                    player.click("#fold-all")
            else:
                player.js(
                    "document.getElementById('c' + arguments[0]).dispatchEvent("
                    "new MouseEvent('click', {bubbles: true, detail: 1}))",
                    int(k),
                )
                time.sleep(0.25)
            places = player.js(VISIBLE)
            for i, (l, t, r, b) in enumerate(places):
                for left, top, right, bottom in places[:i]:
                    assert min(r, right) - max(l, left) < 0.6 or min(b, bottom) - max(t, top) < 0.6
            ends = player.js(
                "const lines = document.querySelectorAll('#drawing .edge:not(.hidden) .line');"
                "return [...lines].map(e => e.getAttribute('d'))"
            )
            assert all("NaN" not in d and "undefined" not in d for d in ends)
            assert player.js(INSIDE) == []
            for width, height, title in player.js(LIDS):
                assert width > title
                assert height > title / 4
                assert height >= 26
        player.click("#fold-all")
        assert player.count("#drawing .hidden") == player.count("#drawing .count")
        count = player.js("document.querySelectorAll('#drawing .count').forEach(e => e.remove())")
        assert count is None
        assert player.js("return document.querySelectorAll('#drawing .box').length") == whole.count('class="box ')

    def test_closed_steps_leave_no_gap(player: Page) -> None:
        player.open(drawn.tanh_rnn(5))
        extent = "const r = document.getElementById('world').getBBox(); return [r.width, r.height]"
        width, height = player.js(extent)
        player.click("#fold-all")
        narrow, low = player.js(extent)
        assert narrow < 0.5 * width
        assert low < 0.9 * height
        player.click("#fold-all")
        assert player.js(extent) == pytest.approx([width, height], abs=1)

    def test_a_click_closes_a_block_and_a_double_click_fits(player: Page) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        player.open(drawn.tanh_rnn(3))
        before = player.count("#drawing .box.hidden")
        title = player.driver.find_element("css selector", ".cluster.step > text")
        ActionChains(player.driver, duration=0).move_to_element(title).click().perform()
        time.sleep(0.3)
        assert player.count("#drawing .box.hidden") > before == 0
        assert player.count(".cluster.closed") == 1
        player.click("#fold-all")
        player.keys("+", "+", "+")
        large = player.scale()
        canvas = player.driver.find_element("id", "drawing")
        ActionChains(player.driver, duration=0).move_to_element(canvas).double_click().perform()
        time.sleep(0.3)
        assert player.count(".cluster.closed") == 0
        assert player.scale() < large

    def test_wheel_drag_keys_and_buttons_move_the_drawing(player: Page) -> None:
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

        player.open(drawn.tanh_rnn(3))
        canvas = player.driver.find_element("id", "drawing")
        start = player.scale()
        ActionChains(player.driver, duration=0).scroll_from_origin(ScrollOrigin.from_element(canvas), 0, -200).perform()
        assert player.scale() > start
        before = player.transform()
        corner = ActionChains(player.driver, duration=0).move_to_element_with_offset(canvas, -380, 250)
        corner.click_and_hold().move_by_offset(60, -30).release().perform()
        assert player.transform() != before
        assert player.count(".cluster.closed") == 0
        player.keys("+")
        large = player.scale()
        player.keys("-", "-")
        assert player.scale() < large
        player.click("#zoom-in")
        player.click("#fit")
        fitted = player.scale()
        box = player.js(
            "const r = document.getElementById('world').getBoundingClientRect(),"
            "c = document.getElementById('canvas').getBoundingClientRect();"
            "return [r.left >= c.left, r.top >= c.top, r.right <= c.right, r.bottom <= c.bottom]"
        )
        assert all(box)
        player.keys("+", "0")
        assert player.scale() == pytest.approx(fitted)

    def test_what_is_played_is_in_view(player: Page) -> None:
        player.open(drawn.tanh_rnn(8), width=390, height=844, fold=False)
        for _ in range(40):
            player.keys(Keys.ARROW_RIGHT)
            if player.count("#drawing .box.now") == 1:
                assert player.js(
                    "const r = document.querySelector('.box.now .frame').getBoundingClientRect(),"
                    "c = document.getElementById('canvas').getBoundingClientRect();"
                    "return r.left >= c.left && r.right <= c.right && r.top >= c.top && r.bottom <= c.bottom"
                )

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_light_and_dark_can_both_be_read(player: Page, dark: bool) -> None:
        player.open(drawn.tanh_rnn(3), dark=dark)
        assert player.js("return document.documentElement.dataset.theme") == ("dark" if dark else "light")
        for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.END, Keys.ARROW_LEFT * 8):
            player.keys(key)
            for selector in (
                "h1",
                "#status",
                "#status b",
                "#card h2",
                "#card .rows dd",
                ".formula .on",
                ".tape",
                "small",
            ):
                if player.count(selector):
                    assert contrast(player, selector) >= 4.5, selector
        player.click("#theme")
        assert player.js("return document.documentElement.dataset.theme") == ("light" if dark else "dark")
        assert (
            player.js("return document.getElementById('theme').getAttribute('aria-pressed')") == str(not dark).lower()
        )

    def contrast(player: Page, selector: str) -> float:
        """WCAG's contrast ratio of an element's text and the first solid colour behind it."""
        ink, paper = player.js(
            """
            let e = document.querySelector(arguments[0]);
            const ink = getComputedStyle(e).color;
            while (e && /, 0\\)$|transparent/.test(getComputedStyle(e).backgroundColor)) e = e.parentElement;
            return [ink, getComputedStyle(e || document.body).backgroundColor];
            """,
            selector,
        )

        def luminance(colour: str) -> float:
            parts = [float(v) / 255 for v in colour[colour.index("(") + 1 : -1].split(",")[:3]]
            linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
            return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

        low, high = sorted((luminance(ink), luminance(paper)))
        return (high + 0.05) / (low + 0.05)

    @pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
    def test_a_telephone_needs_no_sideways_scrolling(player: Page, dark: bool) -> None:
        player.open(drawn.lstm(2), width=390, height=844, dark=dark, expand=True)
        for key in (Keys.ARROW_RIGHT, Keys.END):
            player.keys(key)
            assert player.js("return document.documentElement.scrollWidth") <= 390
        buttons = player.js(
            "return [...document.querySelectorAll('button')].map(e => Math.min(e.offsetWidth, e.offsetHeight))"
        )
        assert min(buttons) >= 36

    @pytest.mark.parametrize("name", HOSTILE)
    def test_names_stay_names_in_the_browser(player: Page, name: str) -> None:
        w = tg.tensor(np.ones(2), requires_grad=True, name=name)
        with tg.scope(name):
            y = tg.sum(w * w)
        player.open(y)
        player.keys(Keys.ARROW_RIGHT, Keys.END)
        assert player.text("#card h2").replace("\ufffd", "?") == name.replace("\ud800", "?").replace("\ufffd", "?")
        assert player.count("img") == 0
        assert player.count("script") == 2
        assert player.text("h1").startswith("L = 2")

else:  # nothing to drive: the page itself is tested in test_player.py

    def test_there_is_no_browser_here() -> None:
        assert not HERE
