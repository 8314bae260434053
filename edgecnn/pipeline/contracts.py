"""The contract of a Keras model, and the trial of the usual ranges on labelled images where nothing says one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecnn import artifact
from edgecnn.device.contract import (
    ASSUMED,
    BGR,
    GRAY,
    LOGITS,
    PARTS,
    PROBABILITIES,
    RANGES,
    RGB,
    Contract,
    Numbers,
    Quantized,
    range_name,
)
from edgecnn.device.errors import DeviceError
from edgecnn.device.resolution import (
    LEADING,
    NOTHING_SAID,
    NUMBERS,
    SHAPE,
    Known,
    Model,
    Said,
    assumption_line,
    contradictions,
    recorded_parts,
    resolved,
)
from edgecnn.errors import ArtifactError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecnn.data import DataSet

TRAINING, LAST, TRIAL, DATA = "training", "last layer", "trial", "data"
LEAST_IMAGES = 200  # of a trial; fewer tell few ranges apart
_MOST_IMAGES = 2_000
_LEVEL = 0.01  # of the trial, over all comparisons
# Usual ranges of PyTorch's tutorials, by channels: ImageNet's mean and standard deviation, and MNIST's.
_STANDARDIZED: Mapping[int, tuple[Numbers, Numbers]] = {
    3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    1: ((0.1307,), (0.3081,)),
}
Run = Callable[[Contract, "NDArray[np.uint8]"], "NDArray[np.float32]"]  # class probabilities under a contract


def of_training(model: Any, data: DataSet) -> Contract:
    """Return the contract of a network that is trained on `data`: pixels as 0..1, or as its first layers say."""
    found = _clues(model)
    mean, std = found["range"].value if "range" in found else ((0.0,), (1.0,))
    return Contract(
        shape=data.input_shape,
        labels=tuple(data.labels),
        channels=GRAY if data.input_shape[2] == 1 else RGB,
        mean=mean,
        std=std,
        scores=found["scores"].value if "scores" in found else PROBABILITIES,
        picture=data.picture,
        sources=dict.fromkeys(PARTS, TRAINING),
    )


def of_keras(path: Path, model: Any, *, data: DataSet | None, said: Said, wins: bool = False) -> Contract:
    """Return the contract of a Keras model in a file, what is open of it tried on `data` where that is given.

    Raises `DeviceError` for what is said and cannot be, `ArtifactError` for other classes than the data's.
    """
    from edgecnn import _tf

    recorded = artifact.read_record(path).contract if artifact.record_path(path).exists() else None
    shape, outputs = model.input_shape, model.output_shape
    if not isinstance(shape, tuple) or not isinstance(outputs, tuple) or len(outputs) != 2 or outputs[1] is None:
        raise ArtifactError(f"{path}: input is {shape}, output {outputs}; expected one of each, and classes")
    if None in shape[1:]:
        raise ArtifactError(f"{path}: input is {shape}; expected all sizes but the batch known; save it with such")
    asked = Model(path, tuple(shape[1:]), int(outputs[1]), Quantized(), Quantized())
    contract = resolved(
        asked,
        said=said,
        recorded=recorded,
        clues=_clues(model),
        are_probabilities=lambda: _are_probabilities(path, model),
        wins=wins,
    )
    if data is None:
        return contract
    return completed(contract, data, lambda one, images: _tf.predict(model, images, one), where=str(path))


def of_file(path: Path, *, said: Said = NOTHING_SAID, wins: bool = False) -> tuple[Contract, Run]:
    """Return the contract of a .tflite or .onnx file without a look at images, and what runs it under a contract.

    Raises `DeviceError` for what is said and cannot be.
    """
    from edgecnn.device.classifier import Classifier, contract_of
    from edgecnn.device.runtimes.loader import load

    model = load(path)
    return contract_of(model, said, wins=wins), lambda one, images: Classifier(model, one).probabilities(images)


def of_file_to_measure(path: Path, data: DataSet | None, said: Said) -> Contract | None:
    """Return the contract under which a file is measured; None for what is no classifier, which is only timed.

    Of images or classes other than the model's nothing is learned about it. A model whose record says all is not loaded
    for that: it may be one that ends the process.
    """
    recorded = artifact.read_record(path).contract if artifact.record_path(path).exists() else None
    loaded = cache(lambda: of_file(path, said=said))
    try:
        contract = recorded if recorded and not said else loaded()[0]
    except DeviceError:
        if said:
            raise
        return None
    if data is None or contract.shape != tuple(data.input_shape) or len(contract.labels) != len(data.labels):
        return contract
    if recorded is None or recorded.assumed:
        if not contract.is_picture:
            return contract
        contract, run = loaded()
        return completed(contract, data, run, where=str(path))
    return with_names(contract, data, where=str(path))


def completed(contract: Contract, data: DataSet, run: Run, *, where: str) -> Contract:
    """Return a contract with what `data` says of its open parts: names, and what a trial of the usual ranges finds.

    `run` gives the class probabilities [N, classes] of images uint8 [N, H, W, C] under a contract. Raises
    `ArtifactError` where the classes or the pictures are not those of the data.
    """
    contract = with_names(contract, data, where=where)
    check_fits(contract, data, where=where)
    if contract.sources.get("picture") in (ASSUMED, SHAPE):
        contract = contract.with_source(DATA, picture=data.picture)
    return tried(contract, data, run)


def with_names(contract: Contract, data: DataSet, *, where: str) -> Contract:
    """Return the contract of a model that is measured on `data`, whose names it takes where it has none."""
    own, theirs = contract.labels, tuple(data.labels)
    if len(own) != len(theirs):
        raise ArtifactError(f"{where}: output is {len(own)} classes; expected {len(theirs)}, those of {data.name}")
    if own == theirs:
        return contract
    if contract.sources.get("labels") in (NUMBERS, ASSUMED):
        return contract.with_source(DATA, labels=theirs)
    odd = sorted(set(own) ^ set(theirs))
    what = f"{odd[0]!r:.40} is in one of them only" if odd else "their order is another"
    raise ArtifactError(
        f"{where}: its classes are {_listed(own)}, those of {data.name} {_listed(theirs)}; {what}; give images whose "
        f"classes are the model's, in its order, or say what these are really called: --labels FILE"
    )


def check_fits(contract: Contract, data: DataSet, *, where: str) -> None:
    """Raise `ArtifactError` unless a model of this contract takes the images of `data`."""
    if not contract.is_picture or contract.shape != tuple(data.input_shape):
        raise ArtifactError(
            f"{where}: input is {list(contract.shape)}; expected {list(data.input_shape)}, the images of {data.name}; "
            f"say --resize {'x'.join(map(str, contract.shape))}"
        )


@dataclass(frozen=True)
class Tried:
    """One candidate of a trial: its contract, and how many of the images it read right."""

    contract: Contract
    right: Any  # bool [N]


def tried(contract: Contract, data: DataSet, run: Run) -> Contract:
    """Return the contract with range and order of channels as labelled images say, where nobody else does.

    The usual few are tried on validation images, at least 200. One wins that beats each other one by McNemar's exact
    test at p < 0.01 after Holm's correction (S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979);
    else what was assumed stays so.
    """
    parts = [part for part in ("range", "channels") if contract.sources.get(part) == ASSUMED]
    images, labels = data.validation.images[:_MOST_IMAGES], data.validation.labels[:_MOST_IMAGES]
    if not parts or len(images) < LEAST_IMAGES:
        return contract
    every = [Tried(one, run(one, images).argmax(axis=1) == labels) for one in candidates(contract, parts)]
    best = max(every, key=lambda one: int(one.right.sum()))
    for asked in (parts, parts[:1]) if len(parts) > 1 else (parts,):
        rivals = [one for one in every if _differs(one.contract, best.contract, asked)]
        if _beats(best, rivals):
            kept = {name: getattr(best.contract, name) for part in asked for name in _FIELDS[part]}
            return contract.with_source(TRIAL, **kept)
    return contract


_FIELDS = {"range": ("mean", "std"), "channels": ("channels",)}


def candidates(contract: Contract, parts: Sequence[str]) -> list[Contract]:
    """Return the contracts that a trial compares: the usual ranges, and both orders of colors, of the open parts."""
    count = contract.shape[2]
    ranges: list[tuple[Numbers, Numbers]] = [((mean,), (std,)) for mean, std in RANGES.values()]
    ranges += [_STANDARDIZED[count]] if count in _STANDARDIZED else []
    if "range" not in parts:
        ranges = [(contract.mean, contract.std)]
    orders = (RGB, BGR) if "channels" in parts and count == 3 else (contract.channels,)
    return [
        replace(
            contract,
            channels=order,
            mean=mean[::-1] if order == BGR and "range" in parts else mean,
            std=std[::-1] if order == BGR and "range" in parts else std,
        )
        for mean, std in ranges
        for order in orders
    ]


def likelier(contract: Contract, data: DataSet, run: Run) -> str:
    """Return the usual range with which a model reads more of the validation images, and how many; "" for none.

    It is for a model that reads them no better than chance. The difference must be larger than chance makes it
    (McNemar's exact test, p < 0.01 after Holm's correction).
    """
    from edgecnn.bench.accuracy import mcnemar_exact

    images, labels = data.validation.images[:_MOST_IMAGES], data.validation.labels[:_MOST_IMAGES]
    every = {
        range_name(one.mean, one.std): run(one, images).argmax(axis=1) == labels
        for one in candidates(contract, ["range"])
    }
    own = every.pop(range_name(contract.mean, contract.std), None)
    usual = {name: right for name, right in every.items() if name in RANGES}
    best = max(usual, key=lambda name: int(usual[name].sum()))
    if own is None or usual[best].sum() <= own.sum() or mcnemar_exact(usual[best], own) * len(usual) >= _LEVEL:
        return ""
    return f"with --input-range {best} it reads {usual[best].mean():.1%}"


def _differs(one: Contract, other: Contract, parts: Sequence[str]) -> bool:
    return any(
        range_name(one.mean, one.std) != range_name(other.mean, other.std)
        if part == "range"
        else one.channels != other.channels
        for part in parts
    )


def _beats(best: Tried, rivals: Sequence[Tried]) -> bool:
    """Return whether `best` reads more than each rival, by Holm's procedure over all of them."""
    from edgecnn.bench.accuracy import mcnemar_exact

    if any(int(one.right.sum()) >= int(best.right.sum()) for one in rivals):
        return False
    values = sorted(mcnemar_exact(best.right, one.right) for one in rivals)
    return all(value * (len(values) - place) < _LEVEL for place, value in enumerate(values))


def found_by_trial(contract: Contract) -> str:
    """Return what was found out of a contract by trial, in one line; "" where nothing was tried or won."""
    parts = [part for part, source in contract.sources.items() if source == TRIAL]
    texts = {"range": f"range {range_name(contract.mean, contract.std)}", "channels": f"channels {contract.channels}"}
    return ", ".join(texts[part] for part in parts)


def lines_on(contract: Contract, model: Path) -> list[str]:
    """Return what is to be told of a model's contract: what a trial found, and what is assumed."""
    found = found_by_trial(contract)
    trial = [f"{model}: found by trial on the validation images: {found}"] if found else []
    return [*trial, *([f"warning: {model}: {assumption_line(contract)}"] if contract.assumed else [])]


def replaced(contract: Contract, said: Said) -> dict[str, tuple[str, str]]:
    """Return by part what is said and what a contract has instead, for `adopt` to print."""
    return contradictions(said.clues(), recorded_parts(contract))


def _clues(model: Any) -> dict[str, Known]:
    """Return what first and last layer of a Keras model say."""
    from edgecnn.inspect.keras import last_activation, leading_range

    pixels, activation = leading_range(model), last_activation(model)
    found = {} if pixels is None else {"range": Known(pixels, LEADING)}
    if activation in ("softmax", "linear"):
        found["scores"] = Known(PROBABILITIES if activation == "softmax" else LOGITS, LAST)
    return found


def _are_probabilities(path: Path, model: Any) -> bool:
    import numpy as np

    from edgecnn.device.classifier import are_probabilities
    from edgecnn.device.runtimes.loader import LoadedModel, TensorSpec

    ends = [TensorSpec(name, (-1, *shape[1:]), "float32") for name, shape in
            (("input", model.input_shape), ("output", model.output_shape))]  # fmt: skip
    loaded = LoadedModel(
        path, "keras", ends[:1], ends[1:], lambda arrays: [np.asarray(model(arrays[0], training=False))]
    )
    return are_probabilities(loaded)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
