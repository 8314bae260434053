"""Everything that a board needs, in one folder and in one archive: the predictor, a model, how to install and check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgecnn.archives import PROGRAM, with_checksums
from edgecnn.device.files import LIBRARY
from edgecnn.device.selftest import SUMS

_SCRIPT_MODEL = 'MODEL = HERE / "int8.tflite"\n'  # the line of deploy/predict.py that names the model
# The last that was built for 32-bit ARM; it wants an older numpy.
_FOR_32_BITS = {"numpy": "1.26.4", "tflite-runtime": "2.14.0"}
_32_BITS = 'platform_machine == "armv7l"'


def bundle(
    files: Mapping[str, bytes],
    *,
    model: str,
    labels: Sequence[str],
    script: str,
    versions: Mapping[str, str],
    facts: Sequence[str],
    name: str,
) -> dict[str, bytes]:
    """Return the files of a bundle, by name in order: `files` and what describes them, their checksums last.

    `files` holds the model, called `model`, and whatever else is to lie beside it; `script` is deploy/predict.py,
    `versions` the packages that the expected scores were computed with, `facts` lines about the model, `name` the
    folder's name. All is text or given: the same arguments give the same bytes.
    """
    made = {
        "README.md": _readme(model, name=name, facts=facts, has_c=LIBRARY in files),
        "labels.txt": "".join(f"{label}\n" for label in labels),
        "predict.py": _script_for(script, model),
        "requirements.txt": _requirements(versions),
    }
    every = {**files, **{file: text.encode() for file, text in made.items()}}
    return with_checksums(dict(sorted(every.items())))


def _script_for(script: str, model: str) -> str:
    """Return deploy/predict.py with this bundle's model in it."""
    if script.count(_SCRIPT_MODEL) != 1:
        raise ValueError(f"predict.py: expected one line {_SCRIPT_MODEL!r}")
    return script.replace(_SCRIPT_MODEL, f'MODEL = HERE / "{model}"\n')


def _requirements(versions: Mapping[str, str]) -> str:
    """Return what pip is to install: the versions that were used here; on 32-bit ARM those that are to be had there."""
    lines = ["# pip install -r requirements.txt; Python 3.11 or newer"]
    has_other = _FOR_32_BITS.keys() if "ai-edge-litert" in versions else ()
    for package, version in versions.items():
        is_replaced = has_other and package in ("numpy", "ai-edge-litert")
        lines.append(f"{package}=={version}" + ('; platform_machine != "armv7l"' if is_replaced else ""))
    if has_other:
        lines.append("# 32-bit ARM has no ai-edge-litert; tflite-runtime ends at Python 3.11")
        lines += [f"{package}=={version}; {_32_BITS}" for package, version in _FOR_32_BITS.items()]
    return "\n".join(lines) + "\n"


def _readme(model: str, *, name: str, facts: Sequence[str], has_c: bool) -> str:
    in_c = f"| `{LIBRARY}`, `{PROGRAM}` | the model in C: for predict.pyz, and as a program of its own |\n"
    return f"""# {name}

{chr(10).join(f"- {fact}" for fact in facts)}

On the board (Python 3.11 or newer):

```
tar xzf {name}.tar.gz && cd {name}
sha256sum -c {SUMS}                      # the files arrived whole
python3 -m venv ~/edge && ~/edge/bin/pip install -r requirements.txt
~/edge/bin/python predict.pyz --self-test    # this board computes what the workstation computed
~/edge/bin/python predict.pyz photo.jpg      # file, label, probability
```

If something does not work: `python3 predict.pyz --doctor`. All options: `python3 predict.pyz --help`.
`predict.py` is a page of code to read and change.

| file | what it is |
| --- | --- |
| `predict.pyz` | the predictor in one file |
| `predict.py` | a script that uses it |
| `{model}`, `{model}.json` | the model, and its record: hash, origin, figures |
{in_c if has_c else ""}| `labels.txt` | the classes in the model's order, one a line |
| `requirements.txt` | what pip is to install |
| `selftest.png`, `.raw`, `.json` | a picture, the pixels the network sees of it, the scores to expect |
| `{SUMS}` | checksums of all of these |

Exit codes: 0 done; 1 the self-test found other scores; 2 bad input or something missing; 130 interrupted.
"""
