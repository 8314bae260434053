"""Which optional dependencies a command needs, and the one line said when they are absent."""

from importlib.util import find_spec

from edgecnn.errors import MissingExtraError

# The modules by which an extra of pyproject.toml is recognised as installed.
EXTRAS = {
    "train": ("tensorflow", "tf_keras", "tensorflow_model_optimization", "onnx", "tf2onnx", "sklearn"),
    "litert": ("ai_edge_litert",),
    "ort": ("onnxruntime",),
    "report": ("matplotlib", "jinja2"),
}


def missing(extra: str) -> list[str]:
    """Return the modules of `extra` that cannot be imported, without importing any."""
    return [module for module in EXTRAS[extra] if find_spec(module) is None]


def require(*extras: str, needed_by: str) -> None:
    """Raise `MissingExtraError` unless every one of `extras` is installed."""
    absent = [extra for extra in extras if missing(extra)]
    if absent:
        modules = ", ".join(module for extra in absent for module in missing(extra))
        raise MissingExtraError(
            f"{needed_by}: {modules} not installed; needs the extra {'+'.join(absent)}; "
            f"run: pip install 'edgecnn[{','.join(absent)}]'"
        )
