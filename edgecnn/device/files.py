"""A model's files: its bytes, and the record beside it (`int8.tflite.json`) that vouches for them. No numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgecnn.device.contract import SCHEMA, Contract, ContractError, Quantized, from_dict, of_first_schema
from edgecnn.device.digest import sha256
from edgecnn.device.errors import DamagedError, ModelError

LIBRARY, C_LIBRARY = "libmodel.so", "c"  # a model's C library beside it, and what it is called as a runtime
LIBRARY_ABI = 2  # of struct edgecnn_description in edgecnn/native/library.c


def read_model(path: Path) -> bytes:
    """Return the file's bytes after a look at its first ones."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot read ({error.strerror}); give a .tflite or .onnx file") from None
    if path.suffix == ".tflite" and content[4:8] != b"TFL3":
        raise ModelError(f"{path}: not a TFLite file ({len(content)} bytes, no TFL3 mark); restore or export it again")
    if path.suffix == ".onnx" and content[:1] != b"\x08":
        raise ModelError(f"{path}: not an ONNX file ({len(content)} bytes, no IR version); restore or export it again")
    if path.suffix == ".so" and content[:4] != b"\x7fELF":
        raise ModelError(f"{path}: not a library ({len(content)} bytes, no ELF mark); copy it again")
    return content


def read_record(path: Path) -> dict[str, Any]:
    """Return the record beside model `path`, or an empty dict when there is none."""
    record = path.with_name(path.name + ".json")
    try:
        values = json.loads(record.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{record}: not a readable record ({one_line(error)}); restore or remove it") from None
    if not isinstance(values, dict) or not isinstance(values.get("sha256"), str):
        raise ModelError(f"{record}: no sha256 in it; expected the record of {path.name}; restore or remove it")
    return values


def external_data(path: Path, content: bytes) -> tuple[Path, ...]:
    """Return the files that hold weights of the .onnx file `path`, in the order it names them first; else none.

    Raises `ModelError` for one that is absent or would not be in the model's folder or below.
    """
    if path.suffix != ".onnx":
        return ()
    from edgecnn.device.modelfiles.external import external_files  # a start with another file need not pay for it

    try:
        names = external_files(content)
    except DamagedError as error:
        raise ModelError(f"{path}: not a readable ONNX file ({error}); restore or export it again") from None
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    for name in names:
        if not (path.parent / name).is_file():
            raise ModelError(
                f"{path}: some of its weights are in {name!r:.80}, which is not in {path.parent}; copy it there too"
            )
    return tuple(path.parent / name for name in names)


def content_sha256(path: Path, content: bytes | None = None) -> str:
    """Return the SHA-256 that a record keeps of the model `path`, whose bytes are `content`, read if not given.

    It is that of the file's bytes. Where an .onnx file has weights in other files, it is that of its bytes followed by
    the SHA-256, as 32 bytes, of each of them in the order in which it names them first.

    Raises `ModelError` where one of the files is absent or cannot be read.
    """
    content = read_model(path) if content is None else content
    try:
        sums = [bytes.fromhex(sha256(file.read_bytes())) for file in external_data(path, content)]
    except OSError as error:
        raise ModelError(f"{path}: cannot read {error.filename} ({error.strerror}); check its permissions") from None
    return sha256(b"".join([content, *sums])) if sums else sha256(content)


def vouched_for(path: Path, content: bytes) -> bool:
    """Return whether a record lies beside `path`; raises `ModelError` when its hash is not `content_sha256`'s."""
    record = read_record(path)
    if not record:
        return False
    got = content_sha256(path, content)
    if got != record["sha256"]:
        raise ModelError(
            f"{path}: sha256 is {got[:12]}…, its record says {record['sha256'][:12]}…; "
            f"the file was changed or damaged: copy both again"
        )
    return True


def recorded_contract(path: Path, record: dict[str, Any]) -> Contract | None:
    """Return the contract in the record of model `path`, None without a record; `ModelError` for one that is none."""
    if not record:
        return None
    schema = record.get("schema", 1)
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ModelError(
            f"{path}.json: of schema {schema!r:.20}; expected 1 to {SCHEMA}; make predict.pyz anew, by its edgecnn: "
            f"edgecnn export --format pyz"
        )
    try:
        if schema == 1:
            return of_first_schema(record["input"], record["labels"])
        return from_dict(record["contract"])
    except (ContractError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: its record has no readable contract ({error}); copy both again") from None


def check_contract(path: Path, contract: Contract, tensor: tuple[int, ...], ends: Sequence[Quantized]) -> None:
    """Raise `ModelError` when a record states another input or output than the model has.

    `tensor` are the sizes of the input behind its batch, `ends` how input and output are stored.
    """
    if contract.tensor_shape != tensor:
        raise ModelError(
            f"{path}: its record says an input of {list(contract.tensor_shape)}, the model takes {list(tensor)}; "
            f"copy both again"
        )
    for stated, has in zip((contract.input, contract.output), ends, strict=True):
        if (stated.dtype and stated.dtype != has.dtype) or (stated.scale and stated != has):
            raise ModelError(
                f"{path}: its record says {stated.dtype} of scale {stated.scale:.6g}, zero point {stated.zero_point}, "
                f"the model has {has.dtype}, {has.scale:.6g}, {has.zero_point}; copy both again"
            )


def one_line(error: Exception) -> str:
    """Return what an error says, shortened to one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
