"""Makes the whole corpus, in some twenty seconds: ``python -m tests.foreign.make_everything FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.foreign import make_files, make_keras, make_pictures, make_with_tensorflow


def make(root: Path) -> None:
    """Make everything, in `root`."""
    for door in (
        make_pictures.ranges,
        make_pictures.layouts,
        make_pictures.channels,
        make_pictures.scores,
        make_pictures.metadata,
        make_pictures.properties,
        make_pictures.names_of_classes,
        make_pictures.first_nodes,
        make_pictures.digits,
        make_pictures.sets_of_pictures,
        make_files.features,
        make_files.external_data,
        make_files.odd_files,
        make_files.broken_weights,
    ):
        door(root)
    with make_keras.silenced():
        import keras
        import tf_keras
    make_with_tensorflow.first_layers(root, tf_keras)
    make_with_tensorflow.full_integers(root, tf_keras)
    make_with_tensorflow.keras_files(root, tf_keras)
    make_with_tensorflow.keras3_files(root, keras)


def main(root: Path) -> None:
    """Make the corpus in `root`, whole or not at all."""
    unfinished = root.with_name(f"{root.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    make(unfinished)
    unfinished.rename(root)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
