"""Data sources: what they give, how they split, and what they say of damaged files."""

import dataclasses
import gzip
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgecnn.data import idx, load, mnist, representative
from edgecnn.data.published import Published
from edgecnn.data.splits import Source, Split, assemble
from edgecnn.errors import ConfigError, DataError
from tests.conftest import idx_bytes, write_idx_set


@given(arrays(np.uint8, st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5))))
def test_idx_images_are_read_as_written(images: np.ndarray) -> None:
    assert np.array_equal(idx.parse_images(idx_bytes(images, 2051), where="x")[..., 0], images)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "0 bytes; expected an idx header of 16"),
        (idx_bytes(np.zeros(3), 2049) + b"\0" * 20, r"magic 2049 \(labels\); expected 2051 \(images\)"),
        (idx_bytes(np.zeros((2, 3, 3)), 1234), "magic 1234; expected 2051"),
        (idx_bytes(np.zeros((2, 3, 3)), 2051)[:-1], "17 bytes of data; its header says 18; truncated"),
        (idx_bytes(np.zeros((2, 3, 3)), 2051) + b"x", "19 bytes of data; its header says 18"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "0 bytes of data; its header says"),
    ],
)
def test_damaged_idx_images_are_named(raw: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"here.idx: {message}"):
        idx.parse_images(raw, where="here.idx")


def test_a_label_beyond_the_classes_is_refused() -> None:
    with pytest.raises(DataError, match="label 10; expected 0 to 9"):
        idx.parse_labels(idx_bytes(np.array([1, 10]), 2049), where="labels", classes=10)


@pytest.mark.parametrize("content", [b"", b"no gzip", gzip.compress(b"x" * 1000, mtime=0)[:-5]])
def test_a_damaged_gzip_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    if content:
        with pytest.raises(DataError, match=r"a.gz: not a complete gzip file"):
            idx.decompress(tmp_path / "a.gz")


def test_digits_are_in_mnist_convention() -> None:
    data = load("digits", validation_fraction=0.2)
    images = np.concatenate([data.train.images, data.validation.images, data.test.images])
    assert images.shape == (1797, 28, 28, 1)
    assert images.dtype == np.uint8
    assert len(data.test) == 359
    assert (images.max(axis=(1, 2, 3)) > 200).all(), "white ink"
    assert (np.median(images, axis=(1, 2, 3)) == 0).all(), "black paper"
    rows, columns = images.any(axis=(2, 3)).sum(axis=1), images.any(axis=(1, 3)).sum(axis=1)
    assert np.maximum(rows, columns).max() <= 20
    grid = np.arange(28)
    mass = images[..., 0].astype(float)
    centre = (mass.sum(axis=2) * grid).sum(axis=1) / mass.sum(axis=(1, 2))
    assert np.abs(centre - 13.5).max() < 4.5, "near the middle as far as the box fits"
    assert np.abs(centre - 13.5).mean() < 0.6


def test_splits_are_stratified_and_disjoint_and_always_the_same() -> None:
    one, same, other = (load("digits", validation_fraction=fraction) for fraction in (0.2, 0.2, 0.1))
    assert np.array_equal(one.validation.images, same.validation.images)
    assert np.array_equal(one.test.images, other.test.images), "the test set does not move with the fraction"
    shares = np.bincount(one.validation.labels) / (np.bincount(one.train.labels) + np.bincount(one.validation.labels))
    assert np.allclose(shares, 0.2, atol=0.01)
    assert len(one.train) + len(one.validation) + len(one.test) == 1797
    assert one.sha256 == other.sha256


def test_calibration_images_come_from_train_in_equal_share() -> None:
    data = load("digits", validation_fraction=0.2)
    chosen = representative(data.train, 100, seed=0)
    known = {image.tobytes(): label for image, label in zip(data.train.images, data.train.labels, strict=True)}
    assert np.bincount([known[image.tobytes()] for image in chosen]).tolist() == [10] * 10
    assert np.array_equal(chosen, representative(data.train, 100, seed=0))
    assert len(representative(data.train, 10**6, seed=0)) == len(data.train)


def test_a_class_with_one_image_still_splits() -> None:
    split = Split(np.zeros((3, 2, 2, 1), np.uint8), np.array([0, 1, 1]))
    data = assemble("x", Source(split, split, ("a", "b")), validation_fraction=0.1)
    assert sorted(data.validation.labels) == [0, 1]


def test_images_and_labels_must_be_as_many() -> None:
    with pytest.raises(DataError, match="2 images and 3 labels"):
        Split(np.zeros((2, 2, 2, 1), np.uint8), np.zeros(3, np.int64))


def test_an_unknown_source_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="expected one of: a path, digits, fashion-mnist, mnist, two-digits"):
        load("cifar", validation_fraction=0.1)


def test_mnist_is_whole(mnist_dir: Path) -> None:
    data = load("mnist", validation_fraction=0.1, data_dir=mnist_dir)
    assert (len(data.train), len(data.validation), len(data.test)) == (54001, 5999, 10000)
    assert data.input_shape == (28, 28, 1)
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_files_that_are_not_mnist_are_refused_by_checksum(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    with pytest.raises(DataError, match=r"train-images.*md5 of the content is .*; expected 6bbc9ace.*replace the file"):
        mnist.read(data_dir=tmp_path)


def test_swapped_files_are_named_by_their_magic(tmp_path: Path) -> None:
    write_idx_set(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").rename(tmp_path / "train-images-idx3-ubyte.gz")
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(b"-")
    with pytest.raises(DataError, match=r"magic 2049 \(labels\); expected 2051"):
        mnist.read(data_dir=tmp_path)


def test_a_named_folder_without_the_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"t10k-images-idx3-ubyte.gz.* not found; expected MNIST's four .gz files there"
    ):
        mnist.read(data_dir=tmp_path)


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """Serve a folder over real HTTP on loopback."""
    folder = tmp_path / "mirror"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(folder), **options)  # type: ignore[arg-type]

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


def published(folder: Path, *mirrors: str) -> Published:
    """A data set whose published files are those in `folder`."""
    sums = {
        name: hashlib.md5(gzip.decompress((folder / name).read_bytes())).hexdigest() for name in mnist.SET.checksums
    }
    return dataclasses.replace(mnist.SET, checksums=sums, mirrors=mirrors)


def test_a_download_is_kept_only_when_its_checksum_fits(mirror: tuple[Path, str], tmp_path: Path) -> None:
    folder, url = mirror
    write_idx_set(folder)
    name = "train-images-idx3-ubyte.gz"
    with pytest.raises(DataError, match=rf"{url}: md5 .*what came is kept as .*{name}.bad"):
        dataclasses.replace(mnist.SET, mirrors=(url,)).download(tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [f"{name}.bad"]

    other, seen = published(folder, "http://127.0.0.1:9/", url), []
    other.download(tmp_path / "good", on_download=lambda *row: seen.append(row))
    source = other.read(data_dir=tmp_path / "good")
    assert (len(source.train), len(source.test)) == (20, 20)
    assert {row[0] for row in seen} == set(other.checksums)
    assert all(done == total for _, done, total in seen if done >= total)


def test_a_mirror_that_gives_something_else_is_passed_over(mirror: tuple[Path, str], tmp_path: Path) -> None:
    """A captive portal answers every address with its page."""
    folder, url = mirror
    write_idx_set(folder)
    other = published(folder, f"{url}portal/", url)
    (folder / "portal").mkdir()
    for name in other.checksums:
        (folder / "portal" / name).write_text("<html>log in</html>")
    other.download(tmp_path / "cache")
    assert len(other.read(data_dir=tmp_path / "cache").train) == 20
    assert {path.name for path in (tmp_path / "cache").glob("*.bad")} == {f"{name}.bad" for name in other.checksums}


@pytest.mark.parametrize(("home", "kept"), [("caches", "caches/edgecnn"), (None, "home/.cache/edgecnn")])
def test_a_download_is_kept_in_the_users_cache(
    mirror: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str | None, kept: str
) -> None:
    folder, url = mirror
    write_idx_set(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("EDGECNN_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if home is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))
    other = published(folder, url)
    assert other.find() is None
    assert len(other.read().train) == 20
    assert other.find() == tmp_path / kept / "mnist"
    write_idx_set(tmp_path / "data" / "mnist")
    assert other.find() == tmp_path / "data" / "mnist", "the user's own folder comes first"


def test_no_network_and_no_data_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"not found and not downloaded .*refused.*--data-dir; --data digits needs none"
    ) as caught:
        dataclasses.replace(mnist.SET, mirrors=("http://127.0.0.1:9/",)).download(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
