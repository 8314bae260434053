"""Which optional dependencies a command needs, and the one line said when they are absent."""

from importlib.util import find_spec

from edgecnn.errors import MissingExtraError

# The modules by which an extra of pyproject.toml is recognised as installed.
EXTRAS = {
    "train": ("tensorflow", "tf_keras", "tensorflow_model_optimization", "onnx", "tf2onnx", "sklearn"),
    "litert": ("ai_edge_litert",),
    "ort": ("onnxruntime",),
    "search": ("optuna", "distributed"),
    "report": ("matplotlib", "jinja2"),
}


def installed(extra: str) -> bool:
    """Return whether what `extra` brings is there, without importing it."""
    return not _absent(EXTRAS[extra])


def require(*extras: str, needed_by: str, modules: tuple[str, ...] | None = None) -> None:
    """Raise `MissingExtraError` unless every one of `extras` is installed, or of `modules` where only they are needed.

    Nothing is imported.
    """
    absent = {extra: _absent(modules or EXTRAS[extra]) for extra in extras}
    if any(absent.values()):
        names = [extra for extra, missing in absent.items() if missing]
        raise MissingExtraError(
            f"{needed_by}: {', '.join(m for extra in names for m in absent[extra])} not installed; needs the extra "
            f"{'+'.join(names)}; run: pip install 'edgecnn[{','.join(names)}]'"
        )


def _absent(modules: tuple[str, ...]) -> list[str]:
    return [module for module in modules if find_spec(module) is None]
