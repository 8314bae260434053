"""A user's own images: every kind of file gives the same data set, and what is wrong with one is said in a line."""

import gzip
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecnn.artifact import Run
from edgecnn.config import configure
from edgecnn.config.toml import from_toml, to_toml
from edgecnn.data import load, store, watched
from edgecnn.data.pixels import as_images, as_labels
from edgecnn.data.splits import DataSet
from edgecnn.data.summary import preview, summary
from edgecnn.device.contract import Contract
from edgecnn.errors import ArtifactError, ConfigError, DataError, EdgecnnError
from edgecnn.pipeline.deciding import decision
from edgecnn.pipeline.workspace import Workspace, refuse_other_images
from tests.conftest import RELEASED, ROOT, Edgecnn, idx_bytes, write_idx_set

RNG = np.random.default_rng(7)
IMAGES = RNG.integers(0, 256, (30, 6, 6), dtype=np.uint8)
LABELS = np.arange(30) % 3
PICKLES = sorted((ROOT / "tests" / "pickles").glob("*.pkl"))


def opened(path: Path, **options: object) -> DataSet:
    return load(str(path), **{"validation_fraction": 0.25, **options})  # type: ignore[arg-type]


def content(data: DataSet) -> set[tuple[bytes, str]]:
    """Every image of every split with the name of its class."""
    splits = (data.train, data.validation, data.test)
    return {
        (image.tobytes(), data.labels[label])
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }


def write_folder(root: Path, images: np.ndarray = IMAGES, labels: np.ndarray = LABELS, suffix: str = ".png") -> Path:
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        path = root / str(label) / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return root


def write_npz(path: Path) -> Path:
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    return path


def write_npy(path: Path) -> Path:
    path.mkdir()
    np.save(path / "images.npy", IMAGES)
    np.save(path / "labels.npy", LABELS)
    return path


def write_csv(path: Path, header: bool = True, text: str = "{}") -> Path:
    lines = ["label," + ",".join(f"pixel{i}" for i in range(36))] if header else []
    lines += [f"{text.format(y)}," + ",".join(map(str, x.ravel())) for x, y in zip(IMAGES, LABELS, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_pickle(path: Path) -> Path:
    path.write_bytes(pickle.dumps({"x": IMAGES.astype(np.float32) / 255, "y": LABELS.tolist()}))
    return path


def write_idx(path: Path) -> Path:
    path.mkdir()
    for part, rows in (("train", slice(0, 24)), ("t10k", slice(24, 30))):
        (path / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes(IMAGES[rows], 2051)))
        (path / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes(LABELS[rows], 2049))
    return path


WRITERS: dict[str, Callable[[Path], Path]] = {
    "folder": write_folder,
    "set.npz": write_npz,
    "npy": write_npy,
    "set.csv": write_csv,
    "bare.csv": lambda path: write_csv(path, header=False),
    "set.pkl": write_pickle,
    "idx": write_idx,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_source_gives_the_images_that_went_in(tmp_path: Path, name: str) -> None:
    data = opened(WRITERS[name](tmp_path / name))
    assert data.name == name
    assert data.labels == ("0", "1", "2")
    assert data.input_shape == (6, 6, 1)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
    assert all(np.bincount(split.labels, minlength=3).min() > 0 for split in (data.train, data.validation, data.test))
    assert content(data) == {(x.tobytes(), str(y)) for x, y in zip(IMAGES, LABELS, strict=True)}
    assert opened(tmp_path / name).sha256 == data.sha256


def test_mapped_images_are_those_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_folder(tmp_path / "set")
    expected = opened(folder)
    monkeypatch.setattr(store, "RAM_BYTES", 100)
    monkeypatch.setattr(store, "CHUNK", 4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    data = opened(folder)
    assert isinstance(data.train.images, np.memmap)
    assert np.array_equal(data.train.images, expected.train.images)
    assert data.sha256 == expected.sha256
    assert not list((tmp_path / "caches" / "edgecnn").iterdir()), "the file has no name"


def test_memory_stays_bounded_when_images_are_larger(tmp_path: Path) -> None:
    """94 MB of images, of which a split may keep 1 MB, are read with 60 MB of memory that is no mapped file."""
    folder = write_folder(tmp_path / "set", IMAGES[:, :2, :2])
    code = (
        "import resource, sys; from edgecnn.data import load, store; store.RAM_BYTES = 1 << 20; store.CHUNK = 1;"
        "used = int(next(l for l in open('/proc/self/status') if l.startswith('VmData')).split()[1]) << 10;"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + (60 << 20),) * 2);"
        "data = load(sys.argv[1], validation_fraction=0.25, resize='1024x1024x3'); "
        "print(sum(s.images.nbytes for s in (data.train, data.validation, data.test)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60 << 20


# Folders


@pytest.mark.parametrize("validation", ["val", "validation", None])
def test_a_split_level_is_kept(tmp_path: Path, validation: str | None) -> None:
    for part, rows in (("train", slice(0, 18)), (validation, slice(18, 24)), ("test", slice(24, 30))):
        if part is not None:
            write_folder(tmp_path / part, IMAGES[rows], LABELS[rows])
    data = opened(tmp_path)
    assert {image.tobytes() for image in data.test.images} == {image.tobytes() for image in IMAGES[24:]}
    if validation is not None:
        assert {image.tobytes() for image in data.validation.images} == {image.tobytes() for image in IMAGES[18:24]}
        assert len(data.train) == 18


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "idx"])  # which is read in less than a second
def test_what_is_read_at_once_shows_no_progress_and_else_it_rises_to_its_end(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int, int]] = []
    path = WRITERS[name](tmp_path / name)
    monkeypatch.setattr(watched, "_QUICK_S", 3600.0)
    opened(path, observe=lambda *step: steps.append(step))
    assert not steps
    monkeypatch.setattr(watched, "_QUICK_S", -1.0)
    opened(path, observe=lambda *step: steps.append(step))
    assert {what for what, _, _ in steps} == {f"read {name}", f"compare {name}"}
    for stage in ("read", "compare"):
        done = [done for what, done, _ in steps if what.startswith(stage)]
        assert done == sorted(done)
        assert {total for what, _, total in steps if what.startswith(stage)} == {done[-1]}


def test_a_file_that_is_added_moves_at_most_one_other(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set")
    before = opened(folder)
    for number in range(4):
        Image.fromarray(IMAGES[number].T.copy()).save(folder / "0" / f"new{number}.png")
        after = opened(folder)
        assert len({i.tobytes() for i in before.test.images} - {i.tobytes() for i in after.test.images}) <= 1
        before = after


def test_classes_that_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    data = opened(write_folder(tmp_path / "set", labels=LABELS * 9))
    assert data.labels == ("0", "9", "18")


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("L", 1), ("1", 1), ("I;16", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("CMYK", 3)],
)
def test_images_of_any_mode_become_gray_or_rgb(tmp_path: Path, mode: str, channels: int) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(5):
            colours = np.dstack([IMAGES[number]] * 2 + [255 - IMAGES[number]])
            gray = Image.fromarray(IMAGES[number])
            picture = (gray if channels == 1 else Image.fromarray(colours)).convert(mode.removesuffix(";16"))
            if mode == "I;16":
                picture = Image.fromarray(IMAGES[number].astype(np.uint16) << 8)
            picture.save(tmp_path / label / f"{number}.{'jpg' if mode == 'CMYK' else 'png'}")
    data = opened(tmp_path)
    assert data.input_shape == (6, 6, channels)
    if mode in ("L", "LA", "I;16"):
        assert {x.tobytes() for x, _ in ((i, 0) for i in data.train.images)} <= {i.tobytes() for i in IMAGES[:5]}


@pytest.mark.parametrize(
    ("mode", "colour", "options"),
    [
        ("RGBA", (0, 0, 0, 0), {}),
        ("LA", (0, 0), {}),
        ("RGB", (9, 0, 0), {"transparency": (9, 0, 0)}),
        ("L", 9, {"transparency": 9}),
        ("P", 0, {"transparency": 0}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_transparent_pixels_are_white(tmp_path: Path, mode: str, colour: Any, options: dict[str, Any]) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            Image.new(mode, (4, 4), colour).save(tmp_path / label / f"{number}.png", **options)
    assert (opened(tmp_path).train.images == 255).all()


def test_photos_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for number in range(4):
            picture = Image.new("L", (16, 8))
            picture.paste(255, (8, 0, 16, 8))
            exif = Image.Exif()
            exif[0x0112] = 6  # to be turned by a quarter, clockwise
            picture.save(tmp_path / label / f"{number}.jpg", exif=exif, quality=95)
    data = opened(tmp_path)
    assert data.input_shape == (16, 8, 1)
    assert data.train.images[0, 12].min() > 200 > 50 > data.train.images[0, 3].max(), "the right half is below now"


def test_mixed_sizes_need_a_resize_and_the_commonest_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path)
    Image.fromarray(IMAGES[0, :4]).save(tmp_path / "1" / "odd.png")
    with pytest.raises(DataError, match=r"2 sizes, 30 of 31 are 6x6 and 1/odd.png is 4x6; .*pass --resize 6x6$"):
        opened(tmp_path)
    assert opened(tmp_path, resize="8x5").input_shape == (8, 5, 1)
    assert opened(tmp_path, resize="8x8x3").input_shape == (8, 8, 3)


def test_resize_is_for_every_source() -> None:
    assert load("digits", validation_fraction=0.2, resize="32x32x3").input_shape == (32, 32, 3)


@pytest.mark.parametrize("text", ["", "0", "32x", "32x32x2", "5000", "x32", "32 x 32"])
def test_a_size_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"resize: got .*expected HEIGHT"):
        configure(resize=text)


def test_a_few_unreadable_files_are_left_out_and_named(tmp_path: Path) -> None:
    images = np.tile(IMAGES, (10, 1, 1))
    write_folder(tmp_path, images, np.arange(300) % 3)
    (tmp_path / "1" / "text.png").write_text("no image")
    whole = (tmp_path / "2" / "002.png").read_bytes()
    (tmp_path / "2" / "cut.png").write_bytes(whole[: len(whole) // 2])
    data = opened(tmp_path)
    assert len(data.left_out) == 2
    assert data.left_out[0] == "1/text.png: no image of these kinds"
    assert data.left_out[1].startswith("2/cut.png: ")
    assert len(data.train) + len(data.validation) + len(data.test) == 300
    for number in range(3):
        (tmp_path / "0" / f"bad{number}.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"5 of 305 files cannot be read, allowed is 1%: 0/bad0.jpg: .*remove or repl"):
        opened(tmp_path)


def _case(root: Path) -> None:
    write_folder(root)
    write_folder(root / "x", IMAGES[:4], np.zeros(4, int))
    (root / "x" / "0").rename(root / "Cat")
    write_folder(root / "x", IMAGES[:4], np.zeros(4, int))
    (root / "x" / "0").rename(root / "cat")
    (root / "x").rmdir()


def _loop(root: Path) -> None:
    write_folder(root)
    (root / "1" / "again").symlink_to(root)


def _self_loop(root: Path) -> None:
    write_folder(root)
    (root / "2b").symlink_to(root / "2b")


def _test_class(root: Path) -> None:
    write_folder(root / "train", IMAGES[:20], LABELS[:20])
    write_folder(root / "test", IMAGES[20:], LABELS[20:] + 1)


def _no_image(root: Path) -> None:
    write_folder(root)
    (root / "3").mkdir()


def _single(root: Path) -> None:
    write_folder(root)
    write_folder(root, IMAGES[:2], np.array([7, 7]))


def _more_than_splits(root: Path) -> None:
    write_folder(root / "train")
    write_folder(root / "marks")


def _one_class(root: Path) -> None:
    write_folder(root, labels=LABELS * 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_case, "classes Cat and cat differ by case alone"),
        (_loop, "again.*: a symlink loop"),
        (_self_loop, "2b: a symlink loop"),
        (_test_class, "class 3 is not in the training split"),
        (_no_image, "3: no image in it"),
        (_single, "class 7 has 1 training image; expected at least 2"),
        (lambda root: write_folder(root / "test"), "test without train; expected a folder train beside it"),
        (_more_than_splits, "marks beside train; expected train, val and test alone"),
        (
            lambda root: write_folder(root.with_name("x")).joinpath("0").rename(root),
            "set: holds images of no class; expected",
        ),
        (_one_class, r"1 class \(0\); expected at least 2"),
        (lambda root: root.mkdir(), "holds neither folders nor files of these kinds"),
        (lambda root: (root / "a").mkdir(parents=True), "no images in 1 folders; expected one folder a class"),
        (lambda root: None, "no such file or folder; expected a folder of images"),
        (lambda root: root.write_text("x"), "got no suffix; expected a folder"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_a_line(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "set")
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "set")
    assert "\n" not in str(caught.value)


# Arrays and tables


def test_arrays_with_splits_of_their_own(tmp_path: Path) -> None:
    parts = {"x_train": IMAGES[:18], "y_train": LABELS[:18], "x_test": IMAGES[18:24], "y_test": LABELS[18:24]}
    np.savez(tmp_path / "a.npz", **parts, val_images=IMAGES[24:], val_labels=LABELS[24:], class_names=["a", "b", "c"])
    data = opened(tmp_path / "a.npz")
    assert data.labels == ("a", "b", "c")
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 6, 6]


def test_names_stay_names(tmp_path: Path) -> None:
    assert opened(write_csv(tmp_path / "a.csv", text="class {}")).labels == ("class 0", "class 1", "class 2")


def test_train_and_test_tables_in_a_folder(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_csv(tmp_path / f"{name}.csv")
    data = opened(tmp_path)
    assert len(data.test) == 30
    assert summary(data).duplicates["test in train"] + summary(data).duplicates["test in validation"] == 30


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": IMAGES}, "holds a; expected images and labels"),
        ({"images": IMAGES, "labels": LABELS[:3]}, "30 images and 3 labels"),
        ({"images": IMAGES, "x": IMAGES, "labels": LABELS}, "images and x are both images"),
        ({"images": IMAGES, "labels": LABELS * 0}, "1 class"),
        ({"images": IMAGES, "labels": LABELS - 1}, "label -1 of row 0; expected 0 or more"),
        ({"images": IMAGES, "labels": LABELS + 0.5}, "label of row 0 is 0.5; expected a whole number"),
        ({"images": IMAGES, "labels": np.where(LABELS == 2, np.nan, LABELS)}, "label of row 2 is nan"),
        ({"images": IMAGES[:, 0, :5], "labels": LABELS}, r"images are \[30, 5\]; expected"),
        ({"images": IMAGES.reshape(30, 3, 3, 2, 2), "labels": LABELS}, r"images are \[30, 3, 3, 2, 2\]"),
        ({"images": np.where(IMAGES > 9, IMAGES, np.nan), "labels": LABELS}, r"image \d+ has a pixel that is no num"),
        ({"images": IMAGES.astype(int) * 2, "labels": LABELS}, r"pixels from \d+ to \d+; expected whole numbers"),
        ({"images": IMAGES / 100 - 1, "labels": LABELS}, "pixels from -.*, with fractions; .*undo their scaling"),
        ({"images": IMAGES, "labels": LABELS, "class_names": ["a"]}, "label 2; expected 0 to 0, for class_names has 1"),
        ({"images": IMAGES, "labels": LABELS.astype(object)}, "labels.npy: holds Python objects"),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES, "y_test": LABELS + 1},
            "class 3 is in the test or validation split and not in training",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:, 1:], "y_test": LABELS},
            "images of the splits are 5x6x1, 6x6x1; expected one size; pass --resize",
        ),
    ],
)
def test_what_is_wrong_with_arrays_is_said_in_a_line(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1 << 40, 28, 28), (1 << 62, 1 << 62), (-1, 28)])
def test_a_header_that_no_file_can_keep_to_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_npy(tmp_path / "set") / "images.npy"
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with pytest.raises(DataError, match=r"images.npy: its header says .*, which no file holds"):
        opened(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, share: float) -> None:
    for path in (
        write_npz(tmp_path / "a.npz"),
        write_pickle(tmp_path / "a.pkl"),
        write_npy(tmp_path / "n") / "images.npy",
    ):
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match=r"complete|damaged|NumPy's format|truncated|cannot be made"):
            opened(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("label", "digit"), "0 label columns among digit, pixel0, pixel1, ...; expected one"),
        (lambda text: text.replace("pixel3", "y"), "2 label columns"),
        (lambda text: f"{text}1,{',' * 35}x\n", "column 2 of image 30 is ''; expected a number"),
        (lambda text: f"{text}1,{'5,' * 35}black\n", "column 37 of image 30 is 'black'; expected a number"),
        (lambda text: f"{text}1,2,3\n", "image 30 has 3 columns; expected 37"),
        (lambda text: f"{text}1,{'5,' * 35}nan\n", "image 30 has a pixel that is no number"),
        (lambda text: f"{text}1,{'5,' * 35}256\n", "pixels from 0 to 256; expected whole numbers from 0 to 255"),
        (lambda text: f"{text},{'5,' * 35}5\n", "label of row 30 is empty"),
        (lambda text: text.splitlines()[0], "no image in it"),
        (lambda text: "", "no image in it"),
    ],
)
def test_what_is_wrong_with_a_table_is_said_in_a_line(
    tmp_path: Path, change: Callable[[str], str], message: str
) -> None:
    path = write_csv(tmp_path / "a.csv")
    path.write_text(change(path.read_text()))
    with pytest.raises(DataError, match=message) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


def test_idx_of_another_rank_is_named(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    name = tmp_path / "train-images-idx3-ubyte.gz"
    name.write_bytes(gzip.compress(idx_bytes(np.zeros((20, 2, 2, 3)), 2052)))
    with pytest.raises(DataError, match=r"magic 2052 \(idx of 4 dimensions\); expected 2051"):
        opened(tmp_path)


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (IMAGES / np.float32(255), IMAGES),
        (IMAGES.astype(np.float64), IMAGES),
        (IMAGES.astype(np.int16), IMAGES),
        (IMAGES.reshape(30, 36), IMAGES),
        (IMAGES > 127, np.where(IMAGES > 127, 255, 0)),
    ],
)
def test_pixels_are_the_same_however_they_are_stored(stored: np.ndarray, expected: np.ndarray) -> None:
    assert np.array_equal(as_images(stored, where="x")[..., 0], expected)


def test_channels_may_come_first() -> None:
    colour = RNG.integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)
    assert np.array_equal(as_images(colour, where="x"), colour.transpose(0, 2, 3, 1))


def test_labels_may_be_a_column() -> None:
    assert as_labels(np.array([[1.0], [0.0]]), where="x").tolist() == [1, 0]


# Pickles


@pytest.mark.parametrize("path", PICKLES, ids=lambda path: path.stem)
def test_a_pickle_of_any_pandas_is_read_without_pandas(path: Path) -> None:
    assert "pandas" not in sys.modules
    data = opened(path)
    assert data.input_shape == (2, 2, 1)
    named = "class {}" if "cells" in path.stem else "{}"
    pixels = np.arange(40, dtype=np.uint8).reshape(10, 4)
    assert content(data) == {(row.tobytes(), named.format(i % 2)) for i, row in enumerate(pixels)}


def test_pickles_of_three_pandas_are_there() -> None:
    assert len(PICKLES) == 12


@pytest.mark.parametrize("packed", [False, True])
def test_tuples_of_splits(tmp_path: Path, packed: bool) -> None:
    pairs = ((IMAGES[:18], LABELS[:18]), (IMAGES[18:24], LABELS[18:24]), (IMAGES[24:], LABELS[24:]))
    raw = pickle.dumps(pairs, protocol=2)
    path = tmp_path / ("a.pkl.gz" if packed else "a.pkl")
    path.write_bytes(gzip.compress(raw) if packed else raw)
    assert [len(split) for split in vars(opened(path)).values() if hasattr(split, "images")] == [18, 6, 6]


class Attack:
    """Runs a function while it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "named"),
    [(os.system, "posix.system"), (exec, r"(__builtin__|builtins).exec"), (np.load, "numpy.load")],
)
def test_a_pickle_that_would_run_code_is_refused_by_name(
    tmp_path: Path, protocol: int, function: Callable[..., object], named: str
) -> None:
    path, trap = tmp_path / "evil.pkl", tmp_path / "ran"
    argument = f"touch {trap}" if function is os.system else f"open({str(trap)!r}, 'w')"
    path.write_bytes(pickle.dumps({"images": IMAGES, "labels": Attack(function, argument)}, protocol=protocol))
    with pytest.raises(DataError, match=rf"evil.pkl: asks for {named}, which could run code; .*numpy.savez"):
        opened(path)
    assert not trap.exists()


@pytest.mark.parametrize(
    "raw",
    [
        b"cnumpy\nndarray\n(dX\x04\x00\x00\x00nameX\x01\x00\x00\x00yb.",  # state for a class
        b"cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.",
        b"cpandas\nDataFrame\n)\x81}b.",
        b"]q\x00h\x00a.",  # a list that holds itself
        b"Pid\n.",
        b"c__main__\nx\n.",
        b"\x80\x05\x8c\x08builtins\x8c\x0cslice.indices\x93.",
        b"",
    ],
)
def test_odd_pickles_are_refused_in_a_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "a.pkl").write_bytes(raw)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "a.pkl")
    assert "\n" not in str(caught.value)


# What is made of other sets


def test_two_digits_are_100_classes_of_digits_that_no_other_split_has(mnist_dir: Path) -> None:
    data = load("two-digits", validation_fraction=0.5)
    assert (len(data.train), len(data.validation), len(data.test)) == (108002, 5999, 10000)
    assert data.input_shape == (28, 28, 1)
    assert data.labels[7] == "07"
    assert np.bincount(data.test.labels, minlength=100).min() > 50
    lefts = [{image.tobytes() for image in split.images[:, :, :14]} for split in (data.train, data.validation)]
    assert not lefts[0] & lefts[1]


def test_fashion_mnist_is_whole() -> None:
    from edgecnn.data import fashion_mnist

    if fashion_mnist.find() is None:
        pytest.skip("Fashion-MNIST is not here: set EDGECNN_DATA to a folder that holds fashion-mnist/")
    data = load("fashion-mnist", validation_fraction=0.1)
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    assert data.labels[9] == "Ankle boot"


# Looking at them


def test_a_summary_counts_classes_duplicates_and_contradictions(tmp_path: Path) -> None:
    parts = {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES[:6], "y_test": (LABELS[:6] + 1) % 3}
    np.savez(tmp_path / "a.npz", **parts)
    found = summary(opened(tmp_path / "a.npz"))
    assert found.counts["test"] == [2, 2, 2]
    assert sum(found.counts["train"]) + sum(found.counts["validation"]) == 30
    assert found.duplicates["test in train"] + found.duplicates["test in validation"] == 6
    assert found.duplicates["within train"] == 0
    assert found.contradictions == 6


def test_a_preview_shows_every_class(tmp_path: Path) -> None:
    data = opened(write_folder(tmp_path / "set"))
    (tmp_path / "a.png").write_bytes(preview(data))
    with Image.open(tmp_path / "a.png") as sheet:
        pixels = np.asarray(sheet)
    first = data.train.images[data.train.labels == 0][0, :, :, 0].repeat(9, 0).repeat(9, 1)
    found = np.lib.stride_tricks.sliding_window_view(pixels[:60, :, 0], first.shape)
    assert (found == first).all(axis=(2, 3)).any()


def test_a_path_survives_config_toml_and_names_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    config = configure(data="set", resize="8x8")
    assert config.data == str(tmp_path / "set")
    assert from_toml(to_toml(config), where="x") == config
    with pytest.raises(ConfigError, match=r"'elsewhere' is unknown; expected one of: a path, digits, "):
        configure(data="elsewhere")
    with pytest.raises(EdgecnnError, match="--data-dir: does not apply"):
        opened(tmp_path / "set", data_dir=tmp_path)


@pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")
def test_a_model_is_not_judged_on_images_that_changed(tmp_path: Path) -> None:
    data = opened(write_folder(tmp_path / "mnist"))
    with pytest.raises(ArtifactError, match=r"trained on other images of mnist \(sha256 3fadcd44aebc"):
        refuse_other_images(RELEASED / "model.keras", data)


def test_only_of_digits_it_is_known_what_is_none(tmp_path: Path) -> None:
    data = opened(write_folder(tmp_path / "set"))
    (tmp_path / "run").mkdir()
    work = Workspace(Run(tmp_path / "run"), configure(data=str(tmp_path / "set")), data)
    contract = Contract(shape=data.input_shape, labels=tuple(data.labels))
    kept = decision(work, contract, np.full((len(data.validation), 3), 1 / 3, np.float32))
    assert kept["layers"] == []
    assert kept["validation"]["images"] == len(data.validation)


def test_a_command_says_how_many_files_were_left_out(edgecnn: Edgecnn, tmp_path: Path) -> None:
    write_folder(tmp_path / "set", np.tile(IMAGES, (4, 1, 1)), np.arange(120) % 3)
    (tmp_path / "set" / "1" / "text.png").write_text("no image")
    shown = edgecnn("data", "info", tmp_path / "set")
    assert "read set: done but for 1 unreadable files: edgecnn data info lists them" in shown.stderr
    assert "left out: 1/text.png: no image of these kinds" in shown.stdout


def test_commands_show_a_data_set(edgecnn: Edgecnn, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set")
    shown = edgecnn("data", "info", folder, "--json", tmp_path / "a.json")
    assert shown.returncode == 0, shown.stderr
    assert "set: 6x6x1, 3 classes" in shown.stdout
    assert "no duplicates" in shown.stdout
    assert opened(folder, validation_fraction=0.2).sha256 in shown.stdout
    drawn = edgecnn("data", "preview", folder, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert drawn.stdout == "set.png\n"
    refused = edgecnn("data", "info", tmp_path / "none")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
