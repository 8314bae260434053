"""The report: what it says of curves and trade-offs, that it is whole, and that a real browser shows it."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from edgecnn import pipeline
from edgecnn.artifact import Run
from edgecnn.errors import ArtifactError, ConfigError
from edgecnn.pipeline.report import _most_confused
from edgecnn.report import figures
from edgecnn.report import page as pages
from edgecnn.report.pareto import front
from edgecnn.report.table import REPORT_COLUMNS
from tests.browser import chromium, set_width
from tests.conftest import Edgecnn

PICTURES = {
    "pareto-size", "pareto-latency", "curves-baseline", "curves-pruned80", "curves-pruned80-qat",
    "confusion", "calibration", "coverage", "first-100", "worst-mistakes", "layers",
}  # fmt: skip


def epochs(losses: list[float], val_losses: list[float], top1: float = 0.98) -> list[dict[str, float]]:
    pairs = zip(losses, val_losses, strict=True)
    return [{"loss": a, "accuracy": top1, "val_loss": b, "val_accuracy": top1} for a, b in pairs]


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


def row(recipe: str | None, scheme: str, size: int, top1: float, runtime: str = "litert") -> dict[str, Any]:
    """Return a row of bench.json with a size and a top-1, its other figures null."""
    nothing = (
        "error", "mcnemar_p", "first_100_wrong", "top1_agreement", "p50_us", "p90_us", "p99_us", "ratio_to_baseline",
        "end_to_end_p50_us", "cold_start_ms", "rss_over_python_bytes",
    )  # fmt: skip
    given = {"artifact": f"export/{recipe}/{scheme}.tflite", "recipe": recipe, "scheme": scheme, "runtime": runtime}
    sizes = {"size_bytes": size, "gzip_bytes": size}
    return dict.fromkeys(nothing) | given | sizes | {"top1": top1, "top1_low": top1 - 0.02, "top1_high": top1 + 0.02}


ROWS = [
    row("baseline", "float32", 140_000, 0.975),
    row("baseline", "float32", 140_000, 0.975, "ort"),
    row("baseline", "int8", 45_000, 0.974),
    row("pruned80", "float32", 139_000, 0.971),
    row("pruned80", "int8", 44_000, 0.97),
    row("pruned80-qat", "int8", 43_000, 0.969, "ort"),
]
ODD = ("a$x^$b", "<b>|", "_private", None)


def pareto(rows: list[dict[str, Any]], **options: Any) -> Any:
    return figures.pareto(rows, figures.LIGHT, cost="size_bytes", axis="size_bytes", **options)


def texts(figure: Any) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in figure.findobj(Text) if text.get_text()]


def test_the_trade_off_names_the_front_and_explains_colours_and_shapes() -> None:
    written = texts(pareto(ROWS))
    assert "pruned80 int8 litert" in written
    assert "pruned80 float32 litert" not in written, "another one beats it: the table has it"
    assert {"baseline", "pruned80", "pruned80-qat", "litert", "ort"} <= set(written)


def test_the_trade_off_says_in_red_what_is_not_clean() -> None:
    assert not any("clean" in text for text in texts(pareto(ROWS)))
    figure = pareto(ROWS, not_clean=["other programs keep 1.09 cores busy"])
    (said,) = [text for text in figure.findobj(Text) if "clean" in text.get_text()]
    assert said.get_text() == "Not clean: other programs keep 1.09 cores busy"
    assert said.get_color() == figures.LIGHT.red


def small_figures() -> list[Any]:
    images = np.zeros((12, 8, 8, 1), np.uint8)
    mistakes = [{"image": 341, "label": 1, "predicted": 0, "probability": 0.899}] * 12
    return [
        pareto(ROWS, not_clean=["other programs keep 1.09 cores busy"] * 9),
        figures.curves(epochs([0.5, 0.4, 0.3], [0.3, 0.2, 0.1]), best_epoch=2, theme=figures.LIGHT),
        figures.calibration([{"confidence": 0.9, "top1": 0.8, "images": 300}], figures.LIGHT),
        figures.coverage([{"coverage": 0.9, "top1": 0.8}, {"coverage": 1.0, "top1": 0.7}], (0.95, 0.75), figures.LIGHT),
        figures.worst(images, mistakes, ["3", "8"], figures.LIGHT),
        figures.worst(images, mistakes, ["automobile", "wheelbarrow"], figures.LIGHT),
    ]


def test_a_single_mistake_among_a_hundred_classes_is_seen() -> None:
    """Red enough beside the white of the page, on a square that names every fifth class."""
    counts = np.diag(np.full(100, 90))
    counts[3, 77] = 1
    drawn = figures.confusion(counts.tolist(), [f"{number:02}" for number in range(100)], figures.LIGHT)
    ax = drawn.axes[0]
    cells = np.asarray(ax.get_images()[0].get_array())
    assert cells[3, 77, 0] - cells[3, 77, 1] > 0.2
    assert (cells[4, 77, :3] == 1).all()
    assert [tick.get_text() for tick in ax.get_yticklabels()] == [f"{number:02}" for number in range(0, 100, 5)]
    assert drawn.get_figheight() == drawn.get_figwidth()
    assert not ax.texts


def test_long_names_stay_on_their_pictures() -> None:
    labels = ["a long folder name, species 12", "Ankle boot"]
    images = np.zeros((10, 8, 8, 1), np.uint8)
    mistakes = [{"image": i, "label": 1, "predicted": 0, "probability": 0.5} for i in range(10)]
    first = figures.first_images(images, [1] * 10, [0] * 10, labels, figures.LIGHT)
    worst = figures.worst(images, mistakes, labels, figures.LIGHT)
    for figure, texts_of in ((first, lambda ax: ax.texts), (worst, lambda ax: [ax.title])):
        figures.to_png(figure)
        boxes = [text.get_window_extent() for ax in figure.axes if ax.get_visible() for text in texts_of(ax)]
        assert len(boxes) == 10
        assert all(box.x1 <= figure.bbox.x1 for box in boxes)
        assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_the_most_frequent_mistakes_are_named() -> None:
    assert _most_confused([[9, 5, 0], [2, 8, 1], [0, 0, 9]], ["T-shirt/top", "Shirt", "Coat"]) == (
        " Most often: T-shirt/top read as Shirt, 5 times; Shirt read as T-shirt/top, 2 times."
    )
    assert _most_confused([[9, 1], [0, 9]], ["a", "b"]) == ""


@pytest.mark.parametrize("number", range(5))
def test_pictures_can_be_read_on_a_phone(number: int) -> None:
    figure = small_figures()[number]
    figures.to_png(figure)
    written = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    pixels_per_point = 328 / (72 * figure.get_size_inches()[0])
    assert min(t.get_fontsize() for t in written) * pixels_per_point >= 8
    # Of the words alone: an annotation's own extent has its line in it.
    boxes = [(t.get_text(), Text.get_window_extent(t)) for t in {*figure.texts, *own_texts(figure)} if t.get_text()]
    for (one, a), (other, b) in combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} and {other!r}"
    for name, box in boxes:
        assert box.x0 >= 0, name
        assert box.x1 <= figure.bbox.width, name


def own_texts(figure: Any) -> Iterator[Any]:
    """Yield titles, names and labels of the axes that are shown, and of the legends; not the ticks."""
    for ax in figure.axes:
        if ax.get_visible():
            yield from (*ax.texts, ax.title, ax.xaxis.label)
    for legend in figure.legends:
        yield from legend.get_texts()


def test_names_are_never_taken_for_tex(tmp_path: Path) -> None:
    odd = [row(name, "int8", 40_000 + 10 * i, 0.9 + i / 100) for i, name in enumerate(ODD)]
    drawn = (
        pareto(odd, not_clean=["a$x^$b"]),
        figures.confusion([[3, 1], [0, 4]], ["a$x^$b", "$^$"], figures.LIGHT),
        figures.worst(
            np.zeros((1, 8, 8, 1), np.uint8),
            [{"image": 0, "label": 0, "predicted": 1, "probability": 0.5}],
            ["a$x^$b", "$^$"],
            figures.LIGHT,
        ),
    )
    for figure in drawn:
        assert figures.to_png(figure).startswith(b"\x89PNG")
        assert figures.to_svg(figure)
    assert "_private" in texts(drawn[0]), "a legend would leave it out"


def a_report(rows: list[dict[str, Any]], **data: Any) -> pages.Report:
    described = {"name": "digits", "sha256": "0", "test_images": 359, "labels": ["0", "1"]} | data
    measured = {"conditions": {"cpu": "<i>|", "not_clean": []}, "data": described, "baseline": None, "results": rows}
    shown = pages.Picture("curves-<b>|", "Training of <b>|", "of <b>|", "1 of <b>| [x] wrong", b"", b"", b"")
    return pages.Report("edgecnn: <b>|", [("looked at", "<b>|")], measured, [shown])


def test_names_stay_text_in_both_forms() -> None:
    report = a_report([row("<b>|", "int8", 40_000, 0.9), row("a$x^$b", "int8", 40_000, 0.9)])
    markdown = pages.to_report_markdown(report)
    assert "<b>" not in markdown
    assert "<i>" not in markdown
    table = [line for line in markdown.splitlines() if line.startswith("| ")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in table]
    assert bars[:4] == [len(REPORT_COLUMNS) + 1] * 4
    assert set(bars[4:]) == {3}
    assert "(curves-%3Cb%3E%7C.png)" in markdown
    assert "a$x^$b" in markdown
    page = pages.to_html(report)
    assert "<b>" not in page
    assert "&lt;b&gt;|" in page


@pytest.mark.parametrize(("images", "heading"), [(40, "wrong of first 40"), (359, "wrong of first 100")])
def test_the_heading_says_how_many_first_images_there_are(images: int, heading: str) -> None:
    report = a_report(ROWS, test_images=images)
    assert f">{heading}<" in pages.to_html(report)
    assert f" {heading} " in pages.to_report_markdown(report)


NAN = float("nan")


@pytest.mark.parametrize("losses", [[NAN] * 3, [0.5, NAN, float("inf")], [0.0] * 3])
def test_a_loss_without_numbers_is_drawn_too(losses: list[float]) -> None:
    figure = figures.curves(epochs(losses, losses), best_epoch=0, theme=figures.LIGHT)
    assert figures.to_png(figure).startswith(b"\x89PNG")


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


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda measured: measured.pop(key)


def without_in_row(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda measured: measured["results"][1].pop(key)


def with_row(**values: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda measured: measured["results"][1].update(values)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("conditions"), "conditions is missing"),
        (without("data"), "data is missing"),
        (lambda m: m.update(results={}), "results is {}, expected a list of objects"),
        (lambda m: m.update(results=[]), "results is [], expected a list of objects"),
        (lambda m: m.update(results=[3]), "results is [3], expected a list of objects"),
        (lambda m: m.update(conditions=None), "conditions is null, expected an object"),
        (lambda m: m["conditions"].pop("not_clean"), "conditions.not_clean is missing"),
        (lambda m: m["conditions"].update(not_clean="busy"), 'not_clean is "busy", expected a list of texts'),
        (lambda m: m.update(data=None), "expected null, as data is"),
        (lambda m: m["data"].pop("labels"), "data.labels is missing"),
        (lambda m: m["data"]["labels"].pop(), "results[0].confusion is"),
        (lambda m: m["data"].update(test_images=7), "results[0].first_100 is"),
        *((without_in_row(key), f"results[1].{key} is missing") for key in ("artifact", "sha256", "top1", "confusion")),
        (with_row(sha256=5), "results[1].sha256 is 5, expected a line of text"),
        (with_row(artifact="a\nb"), "results[1].artifact is"),
        (with_row(top1="high"), 'results[1].top1 is "high", expected a share from 0 to 1 or null'),
        (with_row(top1=97.5), "results[1].top1 is 97.5, expected a share"),
        (with_row(top1=float("nan")), "results[1].top1 is NaN, expected a share"),
        (with_row(top1=None), "expected null, as top1 is"),
        (with_row(p50_us=0), "results[1].p50_us is 0, expected a number above 0 or null"),
        (with_row(size_bytes=True), "results[1].size_bytes is true, expected a whole number"),
        (with_row(confusion=None), "results[1].confusion is null, expected 10 lists of 10 counts"),
        (with_row(calibration=[{"confidence": 0.5, "top1": 0.5, "images": 0}]), "results[1].calibration is"),
        (with_row(coverage=[{"coverage": 2.0, "top1": 0.5}]), "results[1].coverage is"),
        (with_row(first_100=[10] * 100), "results[1].first_100 is"),
        (with_row(worst_mistakes=[{"image": 359}]), "expected a list of mistakes"),
    ],
)
def test_a_damaged_result_is_refused_in_one_line(
    quick_run: Path, tmp_path: Path, damage: Callable[[dict[str, Any]], Any], said: str
) -> None:
    run = Run(tmp_path)
    shutil.copy(quick_run / "config.toml", tmp_path)
    measured = json.loads((quick_run / "bench" / "bench.json").read_text())
    damage(measured)
    run.bench.parent.mkdir()
    run.bench.write_text(json.dumps(measured))
    with pytest.raises(ArtifactError, match=re.escape(said)) as refused:
        pipeline.report(run, data=None)
    assert "\n" not in str(refused.value)
    assert "measure again: edgecnn bench" in str(refused.value)


def test_what_is_not_clean_stands_once_and_pictures_have_words(quick_run: Path, tmp_path: Path) -> None:
    run = Run(copied(quick_run, tmp_path))
    measured = json.loads(run.bench.read_text())
    measured["conditions"]["not_clean"] = ["the cat sat down"]
    run.bench.write_text(json.dumps(measured))
    page = pipeline.report(run, data=None).read_text()
    assert page.count("the cat sat down") == 1
    alts = re.findall(r'<img alt="([^"]*)"', page)
    shown = next(r for r in measured["results"] if r["artifact"] == "export/baseline/int8.tflite")
    wrong = round(359 * (1 - shown["top1"]))
    assert any(alt.startswith(f"{wrong} of 359 wrong; most often") for alt in alts)
    assert [alt.endswith("Not clean.") for alt in alts[:2]] == [False, True], "only latency suffers"
    assert all(len(alt) > 30 for alt in alts)


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
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(browser: Any, quick_run: Path) -> Any:
    """Return the browser with the report of the quick run open, as wide as a desk's screen."""
    set_width(browser, 1280)
    browser.get((quick_run / "bench" / "report.html").as_uri())
    return browser


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
    deadline = time.monotonic() + 20  # a browser exchanges pictures when it finds time to
    while (dark := look())[1] == light[1] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 27)"
    assert light[1] != dark[1]


@pytest.mark.parametrize("width", [320, 390, 768, 961, 1024, 1216, 1217, 1280, 1920])
def test_nothing_scrolls_sideways(page: Any, width: int) -> None:
    set_width(page, width)
    widths = "return [window.innerWidth, document.documentElement.clientWidth, document.documentElement.scrollWidth]"
    window, shown, content = page.execute_script(widths)
    assert window == width
    assert content <= shown


@pytest.mark.parametrize("width", [390, 1280])
def test_a_path_breaks_only_after_a_slash(page: Any, width: int) -> None:
    set_width(page, width)
    script = "return [...document.querySelectorAll('tbody th span')].map(s => [s.innerText, s.offsetHeight])"
    parts = page.execute_script(script)
    assert "pruned80-qat/" in [text for text, _ in parts]
    heights = {height for _, height in parts}
    assert len(heights) == 1, "every part is one line high"
    assert max(heights) < 30


def test_the_table_can_be_read_aloud(page: Any, quick_run: Path) -> None:
    rows = json.loads((quick_run / "bench" / "bench.json").read_text())["results"]
    count = "return document.querySelectorAll(arguments[0]).length"
    assert page.execute_script(count, "#measured tbody th[scope=row]:first-child") == len(rows)
    assert page.execute_script(count, "#measured > caption") == 1
    assert page.execute_script(count, "details dt") == len(REPORT_COLUMNS)
    assert "0.05 or more: the difference may be noise" in page.page_source


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
