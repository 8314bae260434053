"""The corpus as a table: what somebody types in a folder that was made elsewhere, and what has to come of it.

A line is typed in a copy of the case's folder; `*` is expanded as a shell does, ``{last}`` is the last line that the
line before printed, ``{few}`` and ``{many}`` are folders of labelled pictures. Lines that begin with ``python``,
``cp``, ``sed`` or ``./`` are run as they are, all others are edgecnn's. What is right stands beside the folder: see
make_folder.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Right:
    """The last line prints the right label and probabilities of each picture; nothing is assumed, all is accepted.

    `numbered`: the classes have no names. `program`: it is the C program that prints, label and probability alone.
    `calibrated`: one temperature, fitted on labelled pictures, stands between its probabilities and the right ones, and
    what is fitted there may reject some.
    """

    model: str = "net.tflite"  # whose right values are meant
    tolerance: float = 1e-3
    numbered: bool = False
    program: bool = False
    calibrated: bool = False


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """The last line predicts, says on one line and in the JSON that it assumes `part`, and accepts nothing of that.

    It need not say so of a picture that is right nevertheless: of a gray one, say, where the order of channels is open.
    With the options of `remedy`, which the line names, all are right.
    """

    part: str
    remedy: str
    then: Right = Right()


@dataclass(frozen=True, kw_only=True)
class Refused:
    """The last line ends with one line that has all of `facts` in it and none of `never`, and leaves no file behind.

    The lines of `remedy` work; the last of them is right, where `then` says so.
    """

    facts: tuple[str, ...]
    code: int | None = 2  # None: 1 or 2
    never: tuple[str, ...] = ("damaged",)
    remedy: tuple[str, ...] = ()
    then: Right | None = None


@dataclass(frozen=True, kw_only=True)
class Open:
    """The file leaves it open: right, or assumed, or refused, and with the options of `remedy` right."""

    remedy: str
    then: Right = Right()


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The last line measures, and out.json says a top-1 of at least this; stderr warns of a part that is assumed."""

    top1: float = 0.95
    assumed: str = ""


Expected = Right | Assumed | Refused | Open | Measured


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case: its door, what is typed, and what has to come of it.

    The lines before the last must succeed; among what they and the last one print are all of `says`. `typed`: each is a
    process of its own, as a user types it.
    """

    door: str
    name: str
    folder: str
    lines: tuple[str, ...]
    expected: Expected
    says: tuple[str, ...] = ()
    within: str = "."  # the folder, inside the case's, in which the lines are typed
    typed: bool = False


FLOATS = Right()
WHOLE = 0.02  # of probabilities that are stored in 8 bits, and of two ways to round an input
INTEGERS = Right(tolerance=WHOLE)
ONNX = Right(model="net.onnx")
_PREDICT = "predict --json --model net.tflite *.png"
_PREDICT_ONNX = "predict --json --model net.onnx *.png"
_IMAGENET = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --channels rgb"
_RAW, _SIGNED, _UNIT = "--input-range 0..255", "--input-range -1..1", "--input-range 0..1"


def _case(door: str, name: str, folder: str, *lines: str, expected: Expected = FLOATS, **more: Any) -> Case:
    return Case(door=door, name=name, folder=folder, lines=lines, expected=expected, **more)


def _ranges() -> list[Case]:
    """The range of pixels: said by options, or by the quantization of the input alone."""
    said = {
        "unit": _UNIT,
        "signed": _SIGNED,
        "raw": _RAW,
        "mnist": "--mean 0.1307 --std 0.3081",
        "half": "--input-range -0.5..0.5",
        "imagenet": _IMAGENET,
    }
    typed = ("signed", "imagenet")
    cases = [
        _case("range", f"float, {name} said", f"{name}-float", f"{_PREDICT} {options}", typed=name in typed)
        for name, options in said.items()
    ]
    cases.append(_case("range", "float, mean and std of -1..1", "signed-float", f"{_PREDICT} --mean 0.5 --std 0.5"))
    for name in ("unit", "signed", "raw"):
        expected = Assumed(part="range", remedy=said[name])
        cases.append(_case("range", f"float, {name} unsaid", f"{name}-float", _PREDICT, expected=expected))
    known = ("int8-raw", "int8-signed", "int8-unit", "uint8-raw", "uint8-signed", "uint8-unit")
    for name in (*known, "converted-unit", "converted-signed", "converted-raw"):
        cases.append(_case("range", f"{name} by its scale", name, _PREDICT, expected=INTEGERS))
    for name, options in (("int8-dim", _UNIT), ("int8-imagenet", _IMAGENET)):
        cases.append(_case("range", f"{name} said", name, f"{_PREDICT} {options}", expected=INTEGERS))
        expected_open = Open(remedy=options, then=INTEGERS)
        cases.append(_case("range", f"{name}, whose scale says nothing", name, _PREDICT, expected=expected_open))
    return cases


def _first_layers() -> list[Case]:
    """What a network begins with: layers of Keras and nodes of ONNX that say what a pixel is."""
    files = {
        "halves": ("float.tflite", "int8.tflite"),
        "normalization": ("float.tflite",),
        "batch-norm": ("float.tflite", "net.onnx"),
        "rescaling": ("int8.tflite",),
    }
    cases = []
    for name, file in ((name, file) for name, found in files.items() for file in found):
        expected = Right(model=file, tolerance=WHOLE if file.startswith("int8") else 1e-3)
        line = f"predict --json --model {file} *.png"
        cases.append(_case("first layer", f"{name}, {file}", f"layer-{name}", line, expected=expected))
    # TensorFlow's converter multiplies the first kernel by 1/255: of such a layer nothing is left to see.
    lost = Assumed(part="range", remedy=_RAW, then=Right(model="float.tflite"))
    line = "predict --json --model float.tflite *.png"
    cases.append(_case("first layer", "rescaling, lost in float.tflite", "layer-rescaling", line, expected=lost))
    for name in ("div", "sub-div", "mul-add", "up", "cast"):
        cases.append(_case("first layer", f"nodes {name}", f"first-{name}", _PREDICT_ONNX, expected=ONNX))
    line = f"{_PREDICT_ONNX} --channels rgb"
    cases.append(_case("first layer", "nodes of ImageNet", "first-imagenet", line, expected=ONNX))
    for file in ("net.keras", "net.h5"):
        refused = Refused(
            facts=(file, "Keras 3"),
            remedy=(f"predict --json --model net.tflite *.png {_RAW}",),
            then=FLOATS,
        )
        line = f"export {file} --data {{few}}"
        cases.append(_case("first layer", f"{file} of Keras 3", "keras3", line, expected=refused))
    exported = ("export net.h5 --data {few}", "predict --json --model {last} *.png")
    for name in ("rescaling", "normalization"):
        expected = Right(model="net.h5", tolerance=WHOLE)
        cases.append(_case("first layer", f"{name}, net.h5 exported", f"layer-{name}", *exported, expected=expected))
    return cases


def _layouts() -> list[Case]:
    """How a picture lies in the input, and how its batch is left open."""
    cases = [
        _case("layout", name, name, f"{_PREDICT} {_UNIT}", typed=name == "hw-tflite")
        for name in ("hw-tflite", "nchw-tflite", "flat-tflite", "open-tflite")
    ]
    for name in ("hw-int8", "open-int8"):
        cases.append(_case("layout", name, name, _PREDICT, expected=INTEGERS))
    for name in ("nchw-gray", "hw-onnx", "batch-named", "batch-unsaid", "batch-minus-one"):
        cases.append(_case("layout", name, name, f"{_PREDICT_ONNX} {_UNIT}", expected=ONNX))
    for name in ("nchw-color", "nhwc-color"):
        cases.append(_case("layout", name, name, f"{_PREDICT_ONNX} {_UNIT} --channels rgb", expected=ONNX))
    line = f"{_PREDICT_ONNX} {_UNIT} --channels rgb --layout flat"
    cases.append(_case("layout", "flat-color said", "flat-color", line, expected=ONNX))
    line = f"{_PREDICT} {_UNIT} --layout nchw"
    cases.append(_case("layout", "nchw-tflite said", "nchw-tflite", line))
    unsaid = Assumed(part="range", remedy=_UNIT, then=ONNX)
    cases.append(_case("layout", "nchw-gray, range unsaid", "nchw-gray", _PREDICT_ONNX, expected=unsaid))
    return cases


def _channels() -> list[Case]:
    """Blue first; gray pictures for networks of color, and color for gray ones."""
    caffe = "--channels bgr --mean 0.4076,0.4580,0.4850 --std 0.00392156863"
    unsaid = Assumed(part="channels", remedy="--channels bgr")
    return [
        _case("channels", "bgr said", "bgr-float", f"{_PREDICT} {_UNIT} --channels bgr", typed=True),
        _case("channels", "bgr, with means of its own order", "bgr-caffe", f"{_PREDICT} {caffe}"),
        _case("channels", "bgr, onnx", "bgr-onnx", f"{_PREDICT_ONNX} {_UNIT} --channels bgr", expected=ONNX),
        _case("channels", "bgr unsaid", "bgr-float", f"{_PREDICT} {_UNIT}", expected=unsaid),
        _case("channels", "gray pictures to color", "gray-to-color", f"{_PREDICT} {_UNIT} --channels rgb"),
        _case("channels", "color pictures to gray", "color-to-gray", f"{_PREDICT} {_UNIT}"),
    ]


def _scores() -> list[Case]:
    """Logits, from the file to the board; integers of another type than int8."""
    logits = f"{_UNIT} --logits"
    adopted = f"adopt net.tflite {logits}"
    bundle = (adopted, "export net.tflite --format bundle")
    return [
        _case("scores", "logits, float", "logits-float", f"{_PREDICT} {logits}", typed=True),
        _case("scores", "logits, int8", "logits-int8", f"{_PREDICT} --logits", expected=INTEGERS),
        _case("scores", "logits, uint8", "logits-uint8", f"{_PREDICT} --logits", expected=INTEGERS),
        _case("scores", "logits, onnx", "logits-onnx", f"{_PREDICT_ONNX} {logits}", expected=ONNX),
        _case("scores", "logarithms of softmax", "log-softmax", f"{_PREDICT_ONNX} {logits}", expected=ONNX),
        _case("scores", "logits unsaid", "logits-float", f"{_PREDICT} {_UNIT}", expected=Open(remedy="--logits")),
        _case("scores", "logits adopted", "logits-float", adopted, _PREDICT),
        _case(
            "scores",
            "logits, bundle and self-test",
            "logits-float",
            *bundle,
            "predict --self-test export/*/",
            "python export/*/predict.pyz --json *.png",
        ),
        _case(
            "scores",
            "logits, bench",
            "logits-float",
            f"bench net.tflite --data {{few}} {logits} --quick --json out.json",
            expected=Measured(),
        ),
        _case(
            "scores",
            "logits, keras exported",
            "keras-logits",
            "export net.keras --data {few} --logits --input-range 0..1",
            "predict --json --model {last} *.png",
            expected=Right(model="net.keras", tolerance=WHOLE),
        ),
        _case(
            "scores",
            "uint8 logits of an open batch, C program",
            "open-logits-uint8",
            "adopt net.tflite --logits",
            "build net.tflite",
            "./export/*/native/predict *.pgm",
            expected=Right(tolerance=WHOLE, program=True),
        ),
    ]


def _metadata() -> list[Case]:
    """What files say of themselves, and names of classes."""
    cases = [
        _case("metadata", name, name, _PREDICT, typed=name == "meta-signed")
        for name in ("meta-signed", "meta-raw", "meta-imagenet")
    ]
    cases.append(_case("metadata", "meta-int8", "meta-int8", _PREDICT, expected=INTEGERS))
    for name in ("props-signed", "props-bgr", "props-mean"):
        cases.append(_case("metadata", name, name, _PREDICT_ONNX, expected=ONNX))
    contradiction = Refused(facts=("--input-range", "0..255", "-1..1", "metadata"), remedy=(_PREDICT,), then=Right())
    rest = [
        _case("metadata", "an option that agrees", "meta-signed", f"{_PREDICT} {_SIGNED}"),
        _case("metadata", "an option that contradicts", "meta-signed", f"{_PREDICT} {_RAW}", expected=contradiction),
        _case("metadata", "damaged", "meta-damaged", _PREDICT, expected=Refused(facts=("metadata",), never=())),
        _case("metadata", "no names", "unnamed", _PREDICT, expected=Right(tolerance=WHOLE, numbered=True)),
        _case("metadata", "--labels", "unnamed", f"{_PREDICT} --labels names.txt", expected=INTEGERS),
        _case("metadata", "labels.txt of Windows", "names-of-windows", _PREDICT, expected=INTEGERS),
        _case(
            "metadata",
            "labels.txt of another count",
            "names-too-few",
            _PREDICT,
            expected=Refused(facts=("labels", "4", "6"), remedy=(f"{_PREDICT} --labels names.txt",), then=INTEGERS),
        ),
    ]
    return cases + rest


def _features() -> list[Case]:
    """Networks that take no picture: arrays of their own."""
    real, kept = (f"predict --json --model net.tflite {kind}-*.npy" for kind in ("real", "stored"))
    chosen = f"{real} --layout features"
    measured = "bench net.tflite --data test.npz --layout features --quick --json out.json"
    no_picture = "predict --json --model net.tflite --layout features picture.png"
    wrong = "predict --json --model net.tflite --layout features other-size.npy"
    return [
        _case("features", "real values", "features-int8", chosen, expected=INTEGERS, typed=True),
        _case("features", "as stored", "features-int8", f"{kept} --layout features", expected=INTEGERS),
        _case("features", "real values, flat", "features-flat", real, expected=INTEGERS),
        _case("features", "as stored, flat", "features-flat", kept, expected=INTEGERS),
        _case("features", "real values, float", "features-float", chosen),
        _case(
            "features",
            "unsaid",
            "features-int8",
            real,
            expected=Open(remedy="--layout features", then=INTEGERS),
        ),
        _case(
            "features",
            "a picture",
            "features-int8",
            no_picture,
            expected=Refused(facts=(".npy",), remedy=(chosen,), then=INTEGERS),
        ),
        _case(
            "features",
            "an array of another size",
            "features-int8",
            wrong,
            expected=Refused(facts=("other-size.npy", "49, 10"), remedy=(chosen,), then=INTEGERS),
        ),
        _case("features", "bench of an .npz", "features-int8", measured, expected=Measured()),
        _case(
            "features",
            "adopted",
            "features-int8",
            "adopt net.tflite --layout features",
            real,
            expected=INTEGERS,
        ),
    ]


def _files() -> list[Case]:
    """Files that are more, or other, than one whole model."""
    external = f"{_PREDICT_ONNX} {_UNIT}"
    from_elsewhere = f"predict --json --model ../net.onnx {_UNIT} ../*.png"
    cases = [
        _case("files", "external data", "external-data", external, expected=ONNX, typed=True),
        _case(
            "files", "external data, others here", "external-data", from_elsewhere, expected=ONNX, within="elsewhere"
        ),
        _case(
            "files",
            "external data, missing",
            "external-missing",
            external,
            expected=Refused(
                facts=("net.onnx.data",), remedy=("cp spare/net.onnx.data net.onnx.data", external), then=ONNX
            ),
        ),
        _case(
            "files",
            "external data, adopted",
            "external-data",
            f"adopt net.onnx {_UNIT}",
            _PREDICT_ONNX,
            expected=ONNX,
        ),
        _case(
            "files",
            "external data, changed after adopt",
            "external-data",
            f"adopt net.onnx {_UNIT}",
            "cp elsewhere/net.onnx.data net.onnx.data",
            _PREDICT_ONNX,
            expected=Refused(
                facts=("net.onnx",),
                never=(),
                remedy=("cp spare/net.onnx.data net.onnx.data", _PREDICT_ONNX),
                then=ONNX,
            ),
        ),
        _case("files", "axis 3 of a bias", "bias-axis", _PREDICT, expected=INTEGERS),
        _case(
            "files",
            "axis 3 of a bias, C program",
            "bias-axis",
            "build net.tflite",
            "./export/*/native/predict *.pgm",
            expected=Right(tolerance=WHOLE, program=True),
        ),
    ]
    for name, called in (("edgetpu", "Edge TPU"), ("ethos-u", "Ethos-U"), ("flex", "TensorFlow")):
        line = f"predict --json --model net_{name}.tflite bright-bar.png"
        refused = Refused(facts=(f"net_{name}.tflite", called), remedy=(_PREDICT,), then=INTEGERS)
        cases.append(_case("files", called, name, line, expected=refused))
    return cases


def _gates() -> list[Case]:
    """Models that nobody should put on a board."""
    chance = Refused(
        code=1,
        facts=("%", "0..255", "--allow-chance"),
        remedy=("export untrained.keras --data {few} --allow-chance",),
    )
    read_wrongly = Refused(
        code=1,
        facts=("%", "0..255"),
        remedy=(f"export net.keras --data {{few}} {_RAW}", "predict --json --model {last} *.png"),
        then=Right(model="net.keras", tolerance=WHOLE),
    )
    broken = "keras-broken"
    return [
        _case(
            "gates",
            "no number among the weights",
            broken,
            "export nan.keras --data {few}",
            expected=Refused(code=1, facts=("conv",)),
        ),
        _case(
            "gates",
            "an infinite bias",
            broken,
            "export infinite.keras --data {few}",
            expected=Refused(code=1, facts=("conv",)),
        ),
        _case("gates", "untrained", broken, "export untrained.keras --data {few}", expected=chance),
        _case("gates", "0..255 unsaid", "keras-raw", "export net.keras --data {few}", expected=read_wrongly),
        _case(
            "gates",
            "0..255 said",
            "keras-raw",
            f"export net.keras --data {{few}} {_RAW} --scheme float32",
            "predict --json --model {last} *.png",
            expected=Right(model="net.keras"),
        ),
        _case(
            "gates",
            "0..255 found on labelled pictures",
            "keras-raw",
            "export net.h5 --data {many}",
            "predict --json --model {last} *.png",
            expected=Right(model="net.h5", calibrated=True),
            says=("0..255",),
        ),
    ]


def _broken_files() -> list[Case]:
    """Exported files with such weights."""
    folder = "broken-weights"
    cases = []
    for file, fact in (("nan.tflite", "finite"), ("infinite.tflite", "finite"), ("zero-scale.tflite", "scale")):
        line = f"adopt {file} {'' if 'scale' in file else _UNIT}"
        cases.append(_case("gates", f"adopting {file}", folder, line, expected=Refused(code=None, facts=(file, fact))))
    line = f"predict --json --model nan.tflite bright-bar.png {_UNIT}"
    cases.append(
        _case(
            "gates", "predicting nan.tflite", folder, line, expected=Refused(code=None, facts=("nan.tflite", "finite"))
        )
    )
    return cases


def _adopting() -> list[Case]:
    """A record for what has none, after which no option is needed."""
    contradicting = Refused(facts=("--input-range", "0..255", "-1..1", "record"), remedy=(_PREDICT,), then=Right())
    newer = """sed -i 's/"schema": [0-9]*/"schema": 99/' net.tflite.json"""
    return [
        _case("adopt", "with a range", "signed-float", f"adopt net.tflite {_SIGNED}", _PREDICT, typed=True),
        _case(
            "adopt",
            "range found on labelled pictures",
            "signed-float",
            "adopt net.tflite --data {many}",
            _PREDICT,
            expected=Right(calibrated=True),
            says=("-1..1",),
        ),
        _case(
            "adopt",
            "too few pictures to be sure of a range",
            "unit-float",
            "adopt net.tflite --data {few}",
            _PREDICT,
            expected=Assumed(part="range", remedy=_UNIT, then=Right(calibrated=True)),
        ),
        _case(
            "adopt",
            "at chance, as it is read",
            "signed-float",
            "adopt net.tflite --data {few}",
            expected=Refused(
                code=1,
                facts=("%", "--input-range", "-1..1"),
                remedy=(f"adopt net.tflite --data {{few}} {_SIGNED}", _PREDICT),
                then=Right(calibrated=True),
            ),
        ),
        _case(
            "adopt",
            "an option that corrects metadata",
            "meta-wrong",
            f"adopt net.tflite {_SIGNED}",
            _PREDICT,
            says=("0..1", "-1..1"),
        ),
        _case(
            "adopt",
            "into another folder",
            "signed-float",
            f"adopt net.tflite {_SIGNED} --out kept",
            "predict --json --model kept/net.tflite *.png",
        ),
        _case(
            "adopt",
            "an option that contradicts the record",
            "signed-float",
            f"adopt net.tflite {_SIGNED}",
            f"{_PREDICT} {_RAW}",
            expected=contradicting,
        ),
        _case(
            "adopt",
            "onnx of color",
            "nchw-color",
            f"adopt net.onnx {_UNIT} --channels rgb",
            _PREDICT_ONNX,
            expected=ONNX,
        ),
        _case(
            "adopt",
            "h5, then exported",
            "keras-raw",
            f"adopt net.h5 {_RAW}",
            "export net.h5 --data {few}",
            "predict --json --model {last} *.png",
            expected=Right(model="net.h5", tolerance=WHOLE),
        ),
        _case(
            "adopt",
            "measured",
            "signed-float",
            f"adopt net.tflite {_SIGNED}",
            "bench net.tflite --data {few} --quick --json out.json",
            expected=Measured(),
        ),
        _case(
            "adopt",
            "a record of a newer schema",
            "signed-float",
            f"adopt net.tflite {_SIGNED}",
            newer,
            _PREDICT,
            expected=Refused(facts=("net.tflite", "schema", "99")),
        ),
    ]


def _bad_input() -> list[Case]:
    """What cannot be: one line, exit code 2, and nothing half-written."""
    adopt = "adopt net.tflite"
    right = (f"{_PREDICT} {_UNIT}",)
    bad = {
        "a range upside down": ("--input-range 1..0", ("--input-range", "1..0")),
        "a range of no numbers": ("--input-range dark..bright", ("--input-range", "dark..bright")),
        "a std of 0": ("--mean 0.5 --std 0", ("--std", "0")),
        "two means for one channel": ("--mean 0.1,0.2 --std 1", ("--mean", "2")),
        "a layout that does not fit": (f"{_UNIT} --layout nchw", ("nchw", "20, 24, 1", "--layout")),
        "channels that do not fit": (f"{_UNIT} --channels rgb", ("20, 24, 1", "gray")),
        "labels of another count": (f"{_UNIT} --labels two.txt", ("2", "6", "--labels")),
    }
    cases = [
        _case(
            "bad input",
            name,
            "unit-float",
            f"{adopt} {options}",
            expected=Refused(facts=facts, remedy=right, then=Right()),
        )
        for name, (options, facts) in bad.items()
    ]
    damaged = Refused(facts=("metadata",), never=())
    cases.append(_case("bad input", "damaged metadata", "meta-damaged", adopt, expected=damaged))
    return cases


def _measuring() -> list[Case]:
    """What is measured of models made elsewhere, on labelled pictures."""
    few, many = (f"bench net.tflite --data {{{name}}} --quick --json out.json" for name in ("few", "many"))
    unsure, reversed_ = Measured(top1=0.0, assumed="range"), Refused(facts=("net.tflite", "order"))
    return [
        _case("bench", "0..255 unsaid", "raw-float", few, expected=unsure),
        _case("bench", "0..255 found", "raw-float", many, expected=Measured(), says=("0..255",)),
        _case("bench", "classes in another order", "names-reversed", few, expected=reversed_),
    ]


def _pictures() -> list[Case]:
    """Pictures of MNIST's size that are not brought into MNIST's shape."""
    stretched = f"{_UNIT} --picture stretch"
    return [
        _case("picture", "digits that fill it, said", "full-digits", f"{_PREDICT} {stretched}"),
        _case("picture", "digits that fill it, adopted", "full-digits", f"adopt net.tflite {stretched}", _PREDICT),
        _case("picture", "unsaid", "full-digits", f"{_PREDICT} {_UNIT}", expected=Open(remedy="--picture stretch")),
    ]


CASES: tuple[Case, ...] = tuple(
    case
    for door in (
        _ranges,
        _first_layers,
        _layouts,
        _channels,
        _scores,
        _metadata,
        _features,
        _files,
        _gates,
        _broken_files,
        _adopting,
        _bad_input,
        _measuring,
        _pictures,
    )
    for case in door()
)
