"""The report: what it says of curves and trade-offs, that it is whole, and that a real browser shows it."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from edgecnn import pipeline
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.report import figures
from edgecnn.report.curves import verdict
from edgecnn.report.pareto import front
from edgecnn.report.table import REPORT_COLUMNS
from tests.conftest import Edgecnn

PICTURES = {
    "pareto-size", "pareto-latency", "curves-baseline", "curves-pruned80", "curves-pruned80-qat",
    "confusion", "calibration", "first-100", "worst-mistakes", "layers",
}  # fmt: skip


def epochs(losses: list[float], val_losses: list[float], top1: float = 0.98) -> list[dict[str, float]]:
    pairs = zip(losses, val_losses, strict=True)
    return [{"loss": a, "accuracy": top1, "val_loss": b, "val_accuracy": top1} for a, b in pairs]


NAN = float("nan")


@pytest.mark.parametrize(
    ("history", "word"),
    [
        (epochs([2.3, 2.3, 2.3], [2.3, 2.3, 2.3], top1=0.11), "dead"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], top1=0.14), "dead"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.9, 0.9], top1=0.15), "underfitting"),
        (epochs([NAN] * 3, [NAN] * 3), "diverged"),
        (epochs([0.5, 0.3, NAN], [0.3, 0.2, NAN]), "diverged"),
        (epochs([0.5, 0.3, 0.2], [0.3, float("inf"), 0.2]), "diverged"),
        (epochs([0.5, NAN], [0.3, 0.2], top1=0.11), "diverged"),
        (epochs([0.5, 0.3, 0.2, 0.1], [0.3, 0.2, 0.25, 0.3]), "overfitting"),
        (epochs([0.5, 0.4, 0.35, 0.3], [0.3, 0.2, 0.15, 0.1]), "unfinished"),
        (epochs([0.9, 0.9, 0.9], [0.9, 0.89, 0.89], top1=0.7), "underfitting"),
        (epochs([0.3, 0.2, 0.15, 0.14], [0.2, 0.1, 0.101, 0.099]), "settled"),
        (epochs([0.5, 0.1], [0.3, 0.1]), "short"),
        (epochs([2.3], [2.3], top1=0.1), "short"),
        ([], "short"),
    ],
)
def test_curves_get_a_plain_verdict(history: list[dict[str, float]], word: str) -> None:
    judged = verdict(history, classes=10)
    assert judged.word == word
    assert judged.sentence.endswith(".")


@pytest.mark.parametrize(("top1", "word"), [(0.52, "dead"), (0.53, "underfitting"), (0.72, "underfitting")])
def test_chance_depends_on_the_number_of_classes(top1: float, word: str) -> None:
    assert verdict(epochs([0.6, 0.6, 0.6], [0.6, 0.6, 0.6], top1=top1), classes=2).word == word


def test_the_remedies_are_named() -> None:
    diverged, short = (verdict(epochs(losses, losses), classes=10) for losses in ([0.5, 0.4, NAN], [0.5, 0.4]))
    assert "epoch 3" in diverged.sentence
    assert "learning rate" in diverged.sentence
    assert "too few epochs to judge" in short.sentence


points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=12)


@given(points)
def test_the_front_holds_what_no_other_beats(pairs: list[tuple[int, int]]) -> None:
    def beats(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    expected = {i for i, p in enumerate(pairs) if not any(beats(q, p) for q in pairs)}
    found = front(pairs)
    assert set(found) == expected
    assert [pairs[i][0] for i in found] == sorted(pairs[i][0] for i in found)


def test_the_same_figure_has_the_same_bytes() -> None:
    history = epochs([0.5, 0.4], [0.3, 0.2])
    once, again = (figures.to_svg(figures.curves(history, best_epoch=1, theme=figures.DARK)) for _ in range(2))
    assert once == again


def test_a_wrong_image_is_framed_red() -> None:
    images = np.full((12, 5, 5, 1), 255, np.uint8)
    truth, predicted = [0] * 12, [0] * 11 + [1]
    wrong = [t != p for t, p in zip(truth, predicted, strict=True)]
    mosaic = figures._mosaic(images, wrong, 2, figures.LIGHT)
    red = figures._colour(figures.LIGHT.red)
    framed = (mosaic == red).all(axis=2)
    assert framed[9:, 9:18].sum() == 9 * 9 - 5 * 5, "the second image of the second line"
    assert framed.sum() == 9 * 9 - 5 * 5, "and no other"


def test_a_run_ends_with_a_whole_report(quick_run: Path) -> None:
    folder = quick_run / "bench"
    assert {path.stem for path in folder.glob("*.png")} == PICTURES
    for path in folder.glob("*.png"):
        Image.open(path).verify()
    page = (folder / "report.html").read_text()
    measured = json.loads((folder / "bench.json").read_text())
    assert page.count("<img ") == len(PICTURES)
    assert not re.search(r"""(?:src|href|srcset)=["'](?!data:)""", page), "nothing is fetched from elsewhere"
    for reason in measured["conditions"]["not_clean"]:
        assert reason.split(":")[0] in page
    assert f"{sum(row['first_100_wrong'] for row in measured['results'][:1])}" in page


def test_markdown_refers_to_pictures_that_are_there(edgecnn: Edgecnn, quick_run: Path, tmp_path: Path) -> None:
    run = copied(quick_run, tmp_path)
    done = edgecnn("report", run, "--format", "markdown", "--artifact", "float32.onnx")
    assert done.returncode == 0, done.stderr
    path = Path(done.stdout.splitlines()[-1])
    text = path.read_text()
    named = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert {Path(name).stem for name in named} == PICTURES
    assert all((path.parent / name).is_file() for name in named)
    assert "export/baseline/float32.onnx in ort" in text
    assert "export/pruned80-qat/int8.tflite" in text


def test_what_was_not_measured_as_it_is_is_refused(quick_run: Path, tmp_path: Path) -> None:
    run = Run(copied(quick_run, tmp_path))
    with pytest.raises(ConfigError, match=r"artifact: 'int4' is unknown; expected one of: export/baseline"):
        pipeline.report(run, data=None, shown="int4")
    with pytest.raises(ConfigError, match="format: 'pdf' is unknown; expected one of: html, markdown"):
        pipeline.report(run, data=None, form="pdf")
    changed = run.exported("baseline", "int8.onnx")
    content = changed.read_bytes()
    changed.write_bytes(content + b"\x00")
    with pytest.raises(ArtifactError, match="changed since it was measured"):
        pipeline.report(run, data=None)
    changed.write_bytes(content)
    measured = json.loads(run.bench.read_text())
    run.bench.write_text(json.dumps(measured | {"schema": 1}))
    with pytest.raises(ArtifactError, match="schema 1, expected 2; measure again"):
        pipeline.report(run, data=None)
    run.bench.unlink()
    with pytest.raises(ArtifactError, match="no measurements there"):
        pipeline.report(run, data=None)


def test_without_the_data_the_images_are_left_out(quick_run: Path, tmp_path: Path) -> None:
    run = Run(copied(quick_run, tmp_path))
    page = pipeline.report(run, data=None).read_text()
    assert 'id="confusion"' in page
    assert 'id="first-100"' not in page


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of a run that a test may damage, without pictures."""
    return Path(shutil.copytree(run, folder / "run", ignore=shutil.ignore_patterns("*.png", "report.*")))


# In a real browser.


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return a headless Chromium, or skip."""
    if shutil.which("chromium") is None or shutil.which("chromedriver") is None:
        pytest.skip("no browser: install the packages chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    quiet = ("disable-gpu", "disable-quic", "no-first-run", "disable-background-networking", "disable-sync")
    for flag in ("headless", "no-sandbox", "disable-component-update", *quiet):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser: Any, quick_run: Path) -> Any:
    """Return the browser with the report of the quick run open, as wide as a desk's screen."""
    set_width(browser, 1280)
    browser.get((quick_run / "bench" / "report.html").as_uri())
    return browser


def set_width(browser: Any, width: int, scheme: str = "light") -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


def test_it_loads_without_a_console_error_or_a_request(page: Any) -> None:
    assert [entry for entry in page.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert any(url.startswith("file:") for url in asked), "the page itself is seen"
    assert {url for url in asked if not url.startswith("data:")} == {page.current_url}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_image_decodes(page: Any, scheme: str) -> None:
    set_width(page, 1280, scheme)
    decoded = page.execute_async_script(
        "const done = arguments[0]; Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
        ".then(done, error => done(String(error)))"
    )
    assert isinstance(decoded, list), decoded
    assert len(decoded) == len(PICTURES)
    assert min(decoded) > 100


def test_light_and_dark_have_their_own_pictures(page: Any) -> None:
    def look() -> tuple[str, str]:
        background = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        return background, page.execute_script("return document.images[0].currentSrc")

    light = look()
    set_width(page, 1280, "dark")
    dark = look()
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 27)"
    assert light[1] != dark[1]


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_nothing_scrolls_sideways(page: Any, width: int) -> None:
    set_width(page, width)
    widths = "return [window.innerWidth, document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    window, shown, content = page.execute_script(widths)
    assert window == width
    assert content <= shown


def test_the_table_sorts(page: Any, quick_run: Path) -> None:
    rows = json.loads((quick_run / "bench" / "bench.json").read_text())["results"]

    def column(heading: str) -> list[str]:
        number = [c.heading for c in REPORT_COLUMNS].index(heading)
        script = "return [...document.querySelectorAll('#measured tbody tr')].map(r => r.cells[arguments[0]].innerText)"
        return page.execute_script(script, number)

    def click(heading: str) -> None:
        buttons = page.find_elements("css selector", "#measured th button")
        next(b for b in buttons if b.get_attribute("textContent") == heading).click()

    sizes = sorted(row["size_bytes"] for row in rows)
    click("size_bytes")
    assert [int(cell.replace(",", "")) for cell in column("size_bytes")] == sizes
    click("size_bytes")
    assert [int(cell.replace(",", "")) for cell in column("size_bytes")] == sizes[::-1]
    click("artifact")
    assert column("artifact") == sorted(row["artifact"] for row in rows)
    for _ in range(2):
        click("p vs. baseline")
        assert column("p vs. baseline")[-1] == "-", "what has no figure stays last"
