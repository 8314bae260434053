"""A user's own architecture in a file: a Keras model, or Python code that builds one.

Of a .keras or .h5 file the layers are taken and its weights drawn anew; no code from it is run. A .py file is code
that the user names, and it is run: it defines ``build(shape, classes)``, with shape (height, width, channels), and
returns a model of `tf_keras`.
"""

from __future__ import annotations

import runpy
import traceback
from pathlib import Path
from typing import Any

from edgecnn.errors import ConfigError

SUFFIXES = (".keras", ".h5", ".py")


def build(path: Path, *, input_shape: tuple[int, int, int], classes: int) -> Any:
    """Return the untrained model of `path`: float32 [N, H, W, C] in [0, 1] -> probabilities [N, classes].

    Raises `ConfigError` for what is no such model, `ArtifactError` for a Keras file that is damaged.
    """
    from edgecnn import _tf

    # Keras numbers layers without a name by how many the process made; names reach the exported files.
    _tf.keras.backend.reset_uids()
    model = _built_by_code(path, input_shape, classes) if path.suffix == ".py" else _tf.load_model(path)
    _check_kind(path, model, _tf.keras)
    _check_shapes(path, model, input_shape, classes)
    fresh = _tf.keras.models.clone_model(model)
    _check_scores(path, fresh, input_shape)
    return fresh


def _built_by_code(path: Path, input_shape: tuple[int, int, int], classes: int) -> Any:
    try:
        function = runpy.run_path(str(path), run_name="edgecnn_arch").get("build")
        if not callable(function):
            raise ConfigError(f"arch {path}: no function build in it; define build(shape, classes) -> tf_keras model")
        return function(input_shape, classes)
    except ConfigError:
        raise
    except Exception as error:  # whatever the user's code raises
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else next(reversed(lines), None)
        place = f", line {line}" if line else ""
        reason = next(iter(str(error).strip().splitlines()), "")
        raise ConfigError(f"arch {path}{place}: {type(error).__name__}: {reason}; correct the file") from None


def _check_kind(path: Path, model: Any, keras: Any) -> None:
    """Raise `ConfigError` unless every layer is one of Keras' own, which a saved model can be loaded with safely."""
    if not isinstance(model, keras.Model):
        raise ConfigError(
            f"arch {path}: got {type(model).__module__}.{type(model).__name__}; expected a model of tf_keras "
            f"(import tf_keras as keras)"
        )
    if not (isinstance(model, keras.Sequential) or type(model) is keras.Model or model._is_graph_network):
        raise ConfigError(f"arch {path}: got a subclassed model; expected a Sequential or functional one")
    for layer in model._flatten_layers(include_self=False):
        if not type(layer).__module__.startswith("tf_keras.") or isinstance(layer, keras.layers.Lambda):
            raise ConfigError(
                f"arch {path}: layer {layer.name} is a {type(layer).__name__}, which holds code of its own; "
                f"expected layers of Keras"
            )


def _check_shapes(path: Path, model: Any, input_shape: tuple[int, int, int], classes: int) -> None:
    if not model.built or len(getattr(model, "inputs", None) or ()) != 1 or len(model.outputs) != 1:
        raise ConfigError(f"arch {path}: expected a model with one input of a stated shape and one output")
    taken, given = tuple(model.input_shape[1:]), tuple(model.output_shape[1:])
    if taken != tuple(input_shape):
        raise ConfigError(
            f"arch {path}: takes images of {_sizes(taken)}; the data set's are {_sizes(input_shape)}; change its input "
            f"layer or give another --data"
        )
    if given != (classes,):
        raise ConfigError(
            f"arch {path}: puts out {_sizes(given)} scores; the data set has {classes} classes; change its last layer "
            f"or give another --data"
        )


def _check_scores(path: Path, model: Any, input_shape: tuple[int, int, int]) -> None:
    import numpy as np

    pixels = np.random.default_rng(0).random((4, *input_shape), np.float32)
    scores = np.asarray(model(pixels, training=False))
    if scores.min() < 0 or not np.allclose(scores.sum(axis=1), 1, atol=1e-3):
        raise ConfigError(f"arch {path}: its scores are no probabilities; end it in a softmax over the classes")


def _sizes(shape: tuple[int | None, ...]) -> str:
    return "x".join("any" if size is None else str(size) for size in shape)
