"""int8 TFLite -> C99: one network as model.h and model.c, weights included, nothing else needed.

The C computes what TensorFlow Lite's reference kernels compute, bit for bit. The kernels are the .c files beside this
one; only those that the network uses are taken. `network` reads the layers, `plan` gives each a kernel and a place in
the arena, `ends` says what goes in and comes out, `text` writes it down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256

from edgecnn import __version__
from edgecnn.device.contract import Contract
from edgecnn.errors import ConfigError, unknown
from edgecnn.export.c import network, text
from edgecnn.export.c.ends import UNCALIBRATED, Calibration, Ends, settled
from edgecnn.export.c.plan import KERNELS, plan
from edgecnn.inspect import graph_of

__all__ = ["KERNELS", "check_options", "to_c"]

_NAME = re.compile("[a-z][a-z0-9_]*")


def to_c(
    content: bytes,
    *,
    name: str = "model",
    kernel: str = "auto",
    labels: Sequence[str] = (),
    contract: Contract | None = None,
    calibration: Calibration | None = None,
    facts: Mapping[str, str] | None = None,
    where: str = "model",
) -> dict[str, str]:
    """Return {"model.h": ..., "model.c": ...} for a full-integer .tflite file with int8 or uint8 output.

    `name` begins every public name, `kernel` is that of convolutions and dense layers: dense, sparse or auto (by their
    zeros). `contract` says what it takes and gives, the types aside, which the file says; without one it is assumed,
    with `labels` if these are known. `calibration` is temperature and floor. `facts` are lines for the head of model.h.
    The same arguments give the same bytes. Raises `ConfigError` for an unknown kernel or a name that is none in C, and
    `ArtifactError`, naming `where` and the layer, for what there is no kernel for, or for a contract that does not fit.
    """
    check_options(name=name, kernel=kernel)
    read = network.read(graph_of(content, where=where), where=where)
    taken = settled(contract, read, labels, where=where)
    known = labels if contract is None else contract.labels
    ends = Ends(name, read, taken, calibration or UNCALIBRATED, known)
    made = plan(read, kernel=kernel, where=where)
    pieces = text.pieces(made, where=where)
    digest = sha256(content).hexdigest()
    title = f"{name}: a network in C, made by edgecnn {__version__}"
    head = {
        "from": f"int8 .tflite file of {len(content):,} bytes, sha256 {digest}",
        **(facts or {}),
        "constants": f"{sum(piece.constant_bytes for piece in pieces):,} bytes of weights, biases and scales",
    }
    return {
        "model.h": text.header(read, made, ends, title=title, facts=head),
        "model.c": text.source(read, made, pieces, ends, title=title, version=digest),
    }


def check_options(*, name: str, kernel: str) -> None:
    """Raise `ConfigError` for an unknown kernel, listing the known, or a name that is none in C."""
    if kernel not in KERNELS:
        raise unknown("kernel", kernel, KERNELS)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name: got {name!r}; expected small letters, digits and _, a letter first")
