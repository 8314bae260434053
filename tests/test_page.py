"""The server's page in a real browser, with predict.pyz as the server: draw a 7, read 7."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.export.pyz import to_pyz
from tests.browser import chromium, set_width
from tests.drawing import STROKES, photo, plain, write
from tests.serving import MODEL, Server, encoded, saved, serving

pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="models/edge35k is not released yet")
TEXT = "return document.getElementById(arguments[0]).textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pyz = saved(tmp_path_factory.mktemp("page"), to_pyz(), "predict.pyz")
    with serving(pyz, "--model", MODEL, "--serve", "127.0.0.1:0") as started:
        yield started


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """Return the browser with the page open and ready; whatever a test did, the console must have stayed silent."""
    set_width(browser, 1280)
    browser.get_log("browser")
    browser.get(server.url)
    until(browser, "return document.getElementById('bars').children.length === 10")
    yield browser
    assert [entry for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []


def until(browser: Any, script: str, *arguments: Any) -> Any:
    """Return what a script returns as soon as that is something."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30, poll_frequency=0.05).until(lambda b: b.execute_script(script, *arguments))


def read_label(browser: Any, label: str) -> None:
    until(browser, "return document.getElementById('label').textContent === arguments[0]", label)


def draw(browser: Any, name: str, kind: str = "mouse") -> None:
    """Draw a digit with the mouse, or with a finger."""
    from selenium.webdriver.common.actions.action_builder import ActionBuilder
    from selenium.webdriver.common.actions.pointer_input import PointerInput

    paper = browser.find_element("id", "paper")
    side = paper.size["width"]
    pointer = PointerInput(kind, kind)
    actions = ActionBuilder(browser, mouse=pointer, duration=20)
    for stroke in STROKES[name]:
        points = [(round((x / 100 - 0.5) * 0.8 * side), round((y / 100 - 0.5) * 0.8 * side)) for x, y in stroke]
        actions.pointer_action.move_to(paper, *points[0])
        actions.pointer_action.pointer_down()
        for point in points[1:]:
            actions.pointer_action.move_to(paper, *point)
        actions.pointer_action.pointer_up()
    actions.perform()


def drop(browser: Any, content: bytes, name: str, kind: str) -> None:
    """Drop a file on the page."""
    script = """
        const [bytes, name, type] = arguments;
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], name, {type}));
        document.body.dispatchEvent(new DragEvent("dragover", {dataTransfer: data, bubbles: true, cancelable: true}));
        document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    """
    browser.execute_script(script, list(content), name, kind)


@pytest.mark.parametrize("kind", ["mouse", "touch", "pen"])
def test_a_seven_is_drawn_and_read(page: Any, kind: str) -> None:
    draw(page, "seven", kind)
    read_label(page, "7")
    assert "with probability" in page.execute_script(TEXT, "probability")
    assert page.execute_script(TEXT, "trust") == "Accepted"
    best = page.find_element("css selector", "#bars .best")
    name, share = best.text.splitlines()[0], best.text.splitlines()[-1]
    assert name == "7"
    assert float(share.removesuffix(" %")) > 50
    widths = page.execute_script("return [...document.querySelectorAll('.bar')].map(b => parseFloat(b.style.width))")
    assert np.argmax(widths) == 7
    steps = page.execute_script("return [...document.querySelectorAll('dt')].map(term => term.textContent)")
    assert {"read", "preprocess", "infer", "there and back"} <= set(steps)


def test_what_the_network_saw_is_what_it_saw(page: Any, server: Server) -> None:
    picture = encoded(photo(write("two", plain(280, 280), left=40, top=40, size=200, pen=18)))
    drop(page, picture, "two.png", "image/png")
    read_label(page, "2")
    shown = page.execute_script(
        "return [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 28, 28).data]"
    )
    pixels = np.reshape(shown, (28, 28, 4))
    assert np.array_equal(pixels[..., 0], server.predict(picture, "?pixels=1").values["pixels"])
    assert (pixels[..., 3] == 255).all()
    assert page.find_element("id", "seen").get_attribute("aria-label") == "The 2 that the network saw"


def test_clear_and_undo(page: Any) -> None:
    draw(page, "seven")
    read_label(page, "7")
    page.find_element("id", "clear").click()
    read_label(page, "?")
    assert not page.execute_script(INK)
    draw(page, "four")
    read_label(page, "4")
    page.find_element("id", "undo").click()
    page.find_element("id", "undo").click()
    read_label(page, "?")
    assert not page.execute_script(INK)
    assert not page.find_element("id", "error").is_displayed()


INK = """const paper = document.getElementById("paper"), clean = document.createElement("canvas");
[clean.width, clean.height] = [paper.width, paper.height];
return paper.toDataURL() !== clean.toDataURL()"""


def test_a_seven_is_drawn_with_keys_alone(page: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    up, down, left, right = Keys.ARROW_UP, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ARROW_RIGHT
    actions = ActionChains(page).send_keys(Keys.TAB)
    actions.send_keys(left * 5, up * 8, " ", right * 10, *(down * 2 + left for _ in range(5)), down * 6, " ").perform()
    assert page.switch_to.active_element.get_attribute("id") == "paper"
    read_label(page, "7")
    ActionChains(page).send_keys(Keys.DELETE).perform()
    read_label(page, "?")
    for name in ("clear", "undo", "picture"):
        ActionChains(page).send_keys(Keys.TAB).perform()
        assert page.switch_to.active_element.get_attribute("id") == name


@pytest.mark.parametrize("button", ["picture", "photo"])
def test_a_photo_is_chosen_and_a_large_one_sent_smaller(page: Any, tmp_path: Path, button: str) -> None:
    large = Image.fromarray(photo(write("two", plain(280, 280), left=40, top=40, size=200, pen=18))).resize(
        (4400, 4400)
    )
    path = saved(tmp_path, encoded(large, "JPEG"), "photo.jpg")
    page.find_element("id", button).send_keys(str(path))
    read_label(page, "2")


def test_what_is_rejected_says_why(page: Any) -> None:
    drop(page, encoded(Image.new("L", (90, 90), 200)), "blank.png", "image/png")
    until(page, "return document.getElementById('trust').textContent === 'Rejected'")
    assert page.execute_script(TEXT, "reason") == "no ink on the paper"


def test_errors_are_shown_and_go_away(page: Any, server: Server) -> None:
    error = page.find_element("id", "error")
    drop(page, encoded(np.full((90, 90, 3), 200, np.uint8))[:-40], "cut.png", "image/png")
    until(page, "return !document.getElementById('error').hidden")
    assert "not a readable image" in error.text
    drop(page, b"not an image", "letter.txt", "text/plain")
    until(page, "return document.getElementById('error').textContent.includes('of no known format')")
    draw(page, "seven")
    read_label(page, "7")
    assert not error.is_displayed()
    # The browser itself notes in its console that these two were refused, as it must.
    refused = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert len(refused) == 2
    assert all("/predict" in entry["message"] and "400" in entry["message"] for entry in refused)


def test_a_tiff_that_the_browser_cannot_show_is_read(page: Any) -> None:
    drop(page, encoded(photo(write("two", plain(280, 280), left=40, top=40, size=200, pen=18)), "TIFF"), "a.tif", "")
    read_label(page, "2")


@pytest.mark.parametrize("width", [320, 390, 735, 737])
def test_nothing_scrolls_sideways(page: Any, width: int) -> None:
    set_width(page, width)
    draw(page, "seven")
    read_label(page, "7")
    widths = "return [window.innerWidth, document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    window, shown, content = page.execute_script(widths)
    assert window == width
    assert content <= shown


def test_a_finger_draws_on_a_phone_and_does_not_scroll(page: Any) -> None:
    set_width(page, 390)
    assert page.execute_script("return getComputedStyle(document.getElementById('paper')).touchAction") == "none"
    draw(page, "seven", "touch")
    read_label(page, "7")
    assert page.execute_script("return window.scrollY") == 0


def test_dark_and_light_differ_and_can_be_read(page: Any) -> None:
    def colors() -> list[float]:
        script = "const style = getComputedStyle(document.body); return [style.color, style.backgroundColor]"
        return [luminance(color) for color in page.execute_script(script)]

    ink, paper = colors()
    assert paper > ink
    set_width(page, 1280, "dark")
    dark_ink, dark_paper = colors()
    assert dark_paper < dark_ink
    for light, dark in ((paper, ink), (dark_ink, dark_paper)):
        assert (light + 0.05) / (dark + 0.05) > 7, "WCAG's contrast, AAA"


def luminance(color: str) -> float:
    """Return the relative luminance of rgb(r, g, b), as WCAG 2 defines it."""
    levels = np.array([float(part) for part in color.removeprefix("rgb(").rstrip(")").split(",")]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_it_asks_nobody_but_its_server(page: Any, server: Server) -> None:
    draw(page, "seven")
    read_label(page, "7")
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert asked
    assert {url for url in asked if not url.startswith(server.url)} <= {"data:,"}


@pytest.fixture(scope="module")
def of_images(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server with a model of 14 classes of color images, not trained."""
    from edgecnn._tf import keras
    from edgecnn.export.tflite import to_tflite

    layers = keras.layers
    network = [layers.Input((6, 8, 3), name="p"), layers.Flatten(name="f"), layers.Dense(14, "softmax", name="d")]
    folder = tmp_path_factory.mktemp("images")
    model = saved(folder, to_tflite(keras.Sequential(network, name="m"), scheme="float32"), "model.tflite")
    labels = [f"kind {number}" for number in range(14)]
    given = {"shape": [1, 6, 8, 3], "dtype": "float32", "range": [0, 1]}
    record = {"sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "labels": labels, "input": given}
    model.with_name("model.tflite.json").write_text(json.dumps(record))
    pyz = saved(folder, to_pyz(), "predict.pyz")
    with serving(pyz, "--model", model, "--serve", "127.0.0.1:0") as started:
        yield started


def test_a_model_of_other_images_is_shown_pictures(browser: Any, of_images: Server) -> None:
    browser.get(of_images.url)
    until(browser, "return document.getElementById('title').textContent === 'Show a picture'")
    draw(browser, "seven")
    assert browser.execute_script(TEXT, "label") == "?", "nothing is drawn there"
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    drop(browser, encoded(pixels), "a.png", "image/png")
    until(browser, "return document.getElementById('label').textContent.startsWith('kind ')")
    assert browser.execute_script(TEXT, "label") == of_images.predict(encoded(pixels)).values["label"]
    shown = browser.execute_script(
        "return [...document.getElementById('seen').getContext('2d').getImageData(0, 0, 8, 6).data]"
    )
    assert np.array_equal(np.reshape(shown, (6, 8, 4))[..., :3], pixels)
    assert len(browser.find_elements("css selector", "#bars li")) == 12, "the likeliest of many"
    assert browser.execute_script(TEXT, "size") == "6x8"
