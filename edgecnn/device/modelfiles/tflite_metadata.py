"""TFLite metadata: a flatbuffer in the file, and files of labels in a zip archive that is appended to it.

The schema: tensorflow/tflite-support, metadata_schema.fbs, "M001".
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence

from edgecnn.device.contract import GRAY, RGB, Numbers
from edgecnn.device.errors import DamagedError
from edgecnn.device.modelfiles.flatbuffer import Table, root
from edgecnn.device.modelfiles.metadata import LONGEST_TEXT, Metadata, normalization
from edgecnn.device.modelfiles.tflite import TFLiteFile

_NAME, _MARK = "TFLITE_METADATA", b"M001"


# The numbers of the fields of each table; a union has two, its kind and its value.
class _ModelMetadata:
    SUBGRAPHS = 3


class _SubGraph:
    INPUTS, OUTPUTS = 2, 3


class _Tensor:
    CONTENT, PROCESS_UNITS, FILES = 3, 4, 6


class _Content:
    KIND, VALUE = 0, 1


class _ProcessUnit:
    KIND, VALUE = 0, 1


class _Normalization:
    MEAN, STD = 0, 1


class _File:
    NAME, KIND = 0, 2


_IMAGE_PROPERTIES, _COLOR_SPACE = 2, 0
_NORMALIZATION_OPTIONS = 1
_TENSOR_AXIS_LABELS = 2
_CHANNELS = {1: RGB, 2: GRAY}
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the others may ask for any amount of memory


def metadata_of(file: TFLiteFile) -> Metadata:
    """Return what a .tflite file's metadata say of its first input and output; raises `DamagedError`.

    Mean and std are of pixels 0..255, and are those of the float model: a quantized input stores what they make of a
    pixel.
    """
    found = file.metadata(_NAME)
    if found is None:
        return Metadata()
    graphs = root(found, _MARK).tables(_ModelMetadata.SUBGRAPHS)
    inputs = graphs[0].tables(_SubGraph.INPUTS) if graphs else ()
    outputs = graphs[0].tables(_SubGraph.OUTPUTS) if graphs else ()
    return Metadata(
        normalization=_normalization(inputs[0]) if inputs else None,
        channels=_channels(inputs[0]) if inputs else None,
        labels=_labels(file.content, outputs[0].tables(_Tensor.FILES)) if outputs else None,
    )


def _normalization(tensor: Table) -> tuple[Numbers, Numbers] | None:
    for unit in tensor.tables(_Tensor.PROCESS_UNITS):
        options = unit.table(_ProcessUnit.VALUE)
        if unit.number(_ProcessUnit.KIND, "B") == _NORMALIZATION_OPTIONS and options is not None:
            mean, std = (options.numbers(field, "f") for field in (_Normalization.MEAN, _Normalization.STD))
            return normalization(mean, std, of_bytes=True)
    return None


def _channels(tensor: Table) -> str | None:
    content = tensor.table(_Tensor.CONTENT)
    if content is None or content.number(_Content.KIND, "B") != _IMAGE_PROPERTIES:
        return None
    properties = content.table(_Content.VALUE)
    return None if properties is None else _CHANNELS.get(properties.number(_COLOR_SPACE, "b"))


def _labels(content: bytes, files: Sequence[Table]) -> tuple[str, ...] | None:
    """Return the lines of the first file of labels."""
    for file in files:
        if file.number(_File.KIND, "b") == _TENSOR_AXIS_LABELS:
            lines = _packed_text(content, file.text(_File.NAME)).splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    return None


def _packed_text(content: bytes, name: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            member = archive.getinfo(name)
            if member.compress_type not in _PACKINGS:
                raise DamagedError(f"{name!r:.60} is packed in a way that is not read")
            with archive.open(member) as packed:
                raw = packed.read(LONGEST_TEXT + 1)
        if len(raw) > LONGEST_TEXT:
            raise DamagedError(f"{name!r:.60} has more than {LONGEST_TEXT} bytes")
        return raw.decode("utf-8-sig")
    except DamagedError:
        raise
    except Exception as error:  # zipfile raises almost anything for a damaged archive
        raise DamagedError(f"{name!r:.60}: {' '.join(str(error).split())[:80]}") from None
