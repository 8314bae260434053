"""Photos and pages: what is written is found whatever it is written on, and what is no image is one line."""

import csv
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from edgecnn.device import ImageError, Predictor
from edgecnn.device.preprocessing.canonical import canonical
from edgecnn.device.preprocessing.components import find, runs, without_gaps
from edgecnn.device.preprocessing.mnist import to_mnist
from edgecnn.device.preprocessing.paper import dark_on_light
from edgecnn.device.preprocessing.pictures import read_gray
from edgecnn.device.preprocessing.segment import Glyph, find_digits, parted, rows_of
from edgecnn.device.preprocessing.shape import centre_of_mass, stroke_width
from edgecnn.export.pyz import to_pyz
from tests.conftest import RELEASED, Edgecnn
from tests.drawing import LABELS, PAPERS, photo, plain, write

MODEL = RELEASED / "int8.tflite"
needs_release = pytest.mark.skipif(not MODEL.is_file(), reason="models/edge35k is not released yet")


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(MODEL)


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pyz") / "predict.pyz"
    path.write_bytes(to_pyz())
    return path


def on_paper(name: str, paper: str) -> np.ndarray:
    return photo(write(name, PAPERS[paper](480, 400), left=90, top=120, size=220, pen=18))


@needs_release
@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("name", LABELS)
def test_a_digit_is_read_on_any_paper(predictor: Predictor, name: str, paper: str) -> None:
    picture = on_paper(name, paper)
    assert predictor.predict(picture).label == LABELS[name]
    tilted = np.asarray(Image.fromarray(picture).rotate(5, Image.Resampling.BICUBIC))[50:-50, 50:-50]
    assert predictor.predict(tilted).label == LABELS[name]


@needs_release
@pytest.mark.parametrize("angle", [0, 10])
@pytest.mark.parametrize("name", LABELS)
def test_a_sheet_on_a_dark_table_is_read(predictor: Predictor, name: str, angle: int) -> None:
    table = np.full((600, 800), 0.25)
    table[100:520, 180:680] = write(name, plain(420, 500), left=150, top=90, size=220, pen=16)
    picture = Image.fromarray(photo(table)).rotate(angle, Image.Resampling.BICUBIC, fillcolor=64)
    assert predictor.predict(np.asarray(picture)).label == LABELS[name]


@needs_release
@pytest.mark.parametrize("pen", [3, 8, 18, 36])
def test_any_pen_is_read(predictor: Predictor, pen: int) -> None:
    picture = photo(write("two", plain(480, 400), left=90, top=120, size=220, pen=pen))
    assert predictor.predict(picture).label == "2"


@pytest.mark.parametrize("paper", ["plain", "ruled", "noisy", "lit"])
def test_chalk_on_a_board_is_the_same_as_ink_on_paper(paper: str) -> None:
    picture = on_paper("four", paper)
    assert np.array_equal(dark_on_light(picture), picture)
    assert np.array_equal(dark_on_light(255 - picture), picture)


def test_a_thin_line_gets_a_usual_pen() -> None:
    thin = to_mnist(photo(write("zero", plain(800, 1000), left=300, top=100, size=600, pen=3)))
    wide = np.asarray(Image.fromarray(thin).resize((224, 224), Image.Resampling.BICUBIC))
    assert 1.5 < stroke_width(wide) / 8 < 3


def test_a_large_photo_gives_what_a_small_one_gives() -> None:
    """Twelve megapixels are shrunk first."""
    small = on_paper("seven", "plain")
    large = np.asarray(Image.fromarray(small).resize((3000, 3600), Image.Resampling.BICUBIC))
    difference = np.abs(to_mnist(large).astype(int) - to_mnist(small))
    assert difference.mean() < 10


def test_every_mnist_image_passes_bit_for_bit(mnist_test: tuple[np.ndarray, np.ndarray]) -> None:
    for image in mnist_test[0][..., 0]:
        assert np.array_equal(canonical(image), image)
    assert np.array_equal(to_mnist(255 - image), image)


def is_in_mnists_shape(ink: np.ndarray) -> bool:
    """What `canonical` promises of one polarity, in Python's exact numbers."""
    sums = [[sum(line) for line in lines] for lines in (ink.tolist(), ink.T.tolist())]
    if not any(sums[0]):
        return True
    for inks in sums:
        places = [place for place, own in enumerate(inks) if own]
        middle = Fraction(sum(place * inks[place] for place in places), sum(inks))
        if places[-1] - places[0] >= 20 or abs(middle - 14) > Fraction(5, 2):
            return False
    return True


@given(
    st.integers(0, 12), st.integers(0, 12), st.booleans(),
    st.sampled_from([(16, 16), (20, 3), (2, 21)]).flatmap(lambda shape: arrays(
        np.uint8, shape, elements=st.sampled_from([0, 0, 0, 7, 255])
    )),
)  # fmt: skip
def test_what_is_canonical(top: int, left: int, is_paper: bool, ink: np.ndarray) -> None:
    pixels = np.zeros((28, 28), np.uint8)
    window = pixels[top : top + len(ink), left : left + ink.shape[1]]
    window[:] = ink[: len(window), : window.shape[1]]
    shown = 255 - pixels if is_paper else pixels
    found = canonical(shown)
    assert (found is not None) == any(map(is_in_mnists_shape, (shown, 255 - shown)))
    if found is not None and is_in_mnists_shape(pixels):
        assert np.array_equal(found, pixels)


@needs_release
def test_mnist_is_read_from_photos_of_it(predictor: Predictor, mnist_test: tuple[np.ndarray, np.ndarray]) -> None:
    """Enlarged, on uneven noisy paper, beside specks; of a hundred, as many as the network may miss and a few more."""
    noise = np.random.default_rng(0)
    right = 0
    for image, label in zip(mnist_test[0][:100, ..., 0], mnist_test[1][:100], strict=True):
        large = np.asarray(Image.fromarray(image).resize((196, 196), Image.Resampling.BICUBIC)) / 255
        paper = PAPERS["lit"](300, 300) + noise.normal(0, 0.02, (300, 300))
        paper[52:248, 52:248] *= 1 - 0.7 * large
        paper[20:23, 30:33] = 0.2
        right += predictor.predict(photo(paper)).label == str(label)
    assert right >= 96


def test_a_small_image_of_the_right_size_that_is_not_mnists_is_brought_into_shape() -> None:
    corner = np.zeros((28, 28), np.uint8)
    corner[1:13, 2:5] = 255
    got = to_mnist(corner)
    assert got.any(axis=1).sum() == 20
    assert centre_of_mass(got) == pytest.approx((14, 14), abs=0.51)


def test_a_light_drawing_on_nothing_is_light_on_black(tmp_path: Path) -> None:
    """What a page's canvas exports: white strokes, the rest transparent."""
    drawing = np.zeros((120, 100, 4), np.uint8)
    drawing[20:100, 45:55] = 255
    Image.fromarray(drawing).save(tmp_path / "canvas.png")
    assert np.array_equal(read_gray(tmp_path / "canvas.png"), drawing[..., 3])


def test_of_an_animation_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(on_paper(name, "plain")) for name in ("seven", "two")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    difference = np.abs(read_gray(tmp_path / "a.gif").astype(int) - np.asarray(frames[0]))
    assert difference.max() < 16, "a GIF has fewer colors"


def test_an_array_with_nan_is_refused() -> None:
    with pytest.raises(ImageError, match=r"image: float64 \[9, 9\]; expected uint8 \[height, width\]"):
        to_mnist(np.full((9, 9), np.nan))


@pytest.mark.parametrize("noise", [0, 6])
def test_a_blank_page_is_no_digit(noise: int) -> None:
    page = np.random.default_rng(0).normal(200, noise, (300, 200)).clip(0, 255).astype(np.uint8)
    with pytest.raises(ImageError, match="expected a digit on paper"):
        to_mnist(page)
    assert find_digits(page).digits == []


def bad_files(folder: Path) -> list[Path]:
    """Return files that must each cost one line and exit code 2."""
    jpeg = folder / "cut.jpg"
    Image.fromarray(on_paper("two", "noisy")).save(jpeg)
    jpeg.write_bytes(jpeg.read_bytes()[: jpeg.stat().st_size // 2])
    (folder / "zero.png").write_bytes(b"")
    (folder / "text.png").write_text("not an image")
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    return [jpeg, *(folder / f"{name}.png" for name in ("zero", "text", "bomb", "gone"))]


@needs_release
def test_bad_images_are_one_line_and_exit_code_2(tmp_path: Path, pyz: Path, edgecnn: Edgecnn) -> None:
    for path in bad_files(tmp_path):
        done = subprocess.run(
            [sys.executable, pyz, "--model", MODEL, path], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (2, ""), path
        assert done.stderr.startswith("error: "), path
        assert path.name in done.stderr, path
        assert done.stderr.count("\n") == 1, path
    done = edgecnn("predict", "--model", MODEL, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{path}: no such file" in done.stderr


def page_of_rows(tmp_path: Path) -> Path:
    """Return a photo of lined paper, held a little askew, with 2 0 4 and, below, 7 1 written on it."""
    paper = PAPERS["lit"](500, 700)
    for row in range(40, 500, 90):
        paper[row : row + 3] *= 0.7
    for number, name in enumerate(("two", "zero", "four")):
        paper = write(name, paper, left=80 + 170 * number, top=70, size=130, pen=11)
    for number, name in enumerate(("seven", "one")):
        paper = write(name, paper, left=130 + 200 * number, top=270, size=130, pen=11)
    path = tmp_path / "page.png"
    Image.fromarray(photo(paper)).rotate(3, Image.Resampling.BICUBIC, fillcolor=150).save(path)
    return path


@needs_release
def test_a_page_is_read_in_order(tmp_path: Path, pyz: Path) -> None:
    path = page_of_rows(tmp_path)
    command = [sys.executable, pyz, "--model", MODEL, "--segment"]
    done = subprocess.run([*command, "--json", path], capture_output=True, text=True, check=True)
    page = json.loads(done.stdout)
    assert page["rows"] == [["2", "0", "4"], ["7", "1"]]
    left, top, width, height = page["digits"][0]["box"]
    assert 80 < left < 150
    assert 60 < top < 130
    assert 80 < height < 130
    assert 50 < width < 100
    done = subprocess.run([*command, "--show", tmp_path / "seen", path], capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(row[1], row[6]) for row in rows] == [("0", "2"), ("0", "0"), ("0", "4"), ("1", "7"), ("1", "1")]
    with Image.open(tmp_path / "seen" / "page.png.steps.png") as seen:
        assert seen.size == (700, 500)


@needs_release
def test_show_draws_every_step(tmp_path: Path, edgecnn: Edgecnn) -> None:
    path = tmp_path / "two.png"
    Image.fromarray(on_paper("two", "squared")).save(path)
    assert edgecnn("predict", "--model", MODEL, "--show", tmp_path / "steps.png", path).returncode == 0
    with Image.open(tmp_path / "steps.png") as sheet:
        assert sheet.width == 7 * 280
    refused = edgecnn("predict", "--model", MODEL, "--show", tmp_path / "steps.png", path, path)
    assert refused.returncode == 2
    assert "expected a folder; leave .png out" in refused.stderr
    refused = edgecnn("predict", "--model", MODEL, "--show", path / "folder", path)
    assert refused.returncode == 2
    assert "--show: cannot write" in refused.stderr


@needs_release
@pytest.mark.parametrize("margin", [4, 30, 150])
@pytest.mark.parametrize("names", [["seven"], ["four"], ["two", "one", "seven", "four"]])
def test_large_writing_is_found_however_close_it_is_cut(predictor: Predictor, names: list[str], margin: int) -> None:
    strip = plain(100 + 2 * margin, 100 * len(names) + 2 * margin)
    for place, name in enumerate(names):
        strip = write(name, strip, left=margin + 100 * place, top=margin, size=100, pen=9)
    found = predictor.predict_page(photo(strip))
    assert [digit.prediction.label for digit in found] == [LABELS[name] for name in names]
    for place, digit in enumerate(found):
        left, top, width, height = digit.box
        assert margin + 100 * place < left < left + width < margin + 100 * (place + 1)
        assert margin < top < top + height < margin + 100


@needs_release
@pytest.mark.parametrize("paper", PAPERS)
def test_a_page_with_one_large_digit(predictor: Predictor, paper: str) -> None:
    (digit,) = predictor.predict_page(on_paper("two", paper))
    left, top, width, height = digit.box
    assert digit.prediction.label == LABELS["two"]
    assert (abs(left - 138), abs(top - 142)) < (15, 15)
    assert 90 < width < 150
    assert 160 < height < 210


def test_digits_that_touch_are_cut_apart() -> None:
    mask = np.zeros((40, 70), np.bool_)
    for left in (0, 42):
        mask[:, left : left + 4] = mask[:4, left : left + 28] = mask[-4:, left : left + 28] = True
        mask[:, left + 24 : left + 28] = True
    mask[20:22, 28:42] = True
    halves = parted(Glyph(5, 7, mask))
    assert len(halves) == 2
    assert [half.mask.shape[0] for half in halves] == [40, 40]
    assert (halves[0].left, halves[0].top, halves[1].top) == (7, 5, 5)
    assert 7 + 28 <= halves[1].left <= 7 + 42
    assert len(parted(Glyph(0, 0, mask[:, :28]))) == 1


def test_rows_may_rise() -> None:
    rising = [Glyph(100 - 4 * n + 120 * row, 60 * n, np.ones((40, 30), np.bool_)) for n in range(10) for row in (0, 1)]
    assert [len(row) for row in rows_of(rising, 40)] == [10, 10]


@settings(deadline=None)
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_pieces_are_what_a_flood_fill_finds(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.45
    pieces = find(mask)
    assert (pieces.labels > 0).tolist() == mask.tolist()
    left = {(int(row), int(column)) for row, column in np.argwhere(mask)}
    count = 0
    while left:
        seen, todo = set(), [left.pop()]
        while todo:
            row, column = todo.pop()
            seen.add((row, column))
            near = {(row + y, column + x) for y in (-1, 0, 1) for x in (-1, 0, 1)} & left
            left -= near
            todo.extend(near)
        number = int(pieces.labels[row, column]) - 1
        rows, columns = zip(*seen, strict=True)
        assert pieces.areas[number] == len(seen)
        assert pieces.boxes[number].tolist() == [min(rows), min(columns), max(rows) + 1, max(columns) + 1]
        count += 1
    assert len(pieces.areas) == count


def test_runs_and_gaps() -> None:
    mask = np.array([[1, 1, 0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0, 0]], np.bool_)
    assert [part.tolist() for part in runs(mask)] == [[0, 0, 0, 1], [0, 3, 7, 2], [2, 4, 8, 5]]
    assert without_gaps(mask, 1).astype(int).tolist() == [[1, 1, 1, 1, 0, 0, 0, 1], [0, 0, 1, 1, 1, 0, 0, 0]]


@needs_release
def test_real_photos_are_read(predictor: Predictor) -> None:
    """A tenth of the photos of the benchmark; all of them, against the goals: python -m benchmarks.photos."""
    folder = Path(os.environ.get("EDGECNN_DATA", "")) / "photos"
    if not (folder / "labels.csv").is_file():
        pytest.skip("photos are not here: set EDGECNN_DATA to a folder that holds photos/")
    with (folder / "labels.csv").open(newline="") as lines:
        chosen = list(csv.DictReader(lines))[::10]
    right = sum(predictor.predict(folder / line["file"]).label == line["label"] for line in chosen)
    assert right >= 0.85 * len(chosen)
