"""What a board is given: the files of a bundle, a program that starts it, and what checks, serves and switches it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import PurePosixPath

from edgecnn import artifact
from edgecnn.archives import PROGRAM, with_checksums
from edgecnn.boards.look import Look, machine_of
from edgecnn.boards.wheelhouse import Wheelhouse
from edgecnn.device.files import LIBRARY
from edgecnn.device.selftest import EXPECTED, SUMS
from edgecnn.errors import ArtifactError, BoardError, ConfigError

RUN, UNIT, HEALTHY = "run", "edgecnn.service", "healthy.py"
_LISTEN = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):([0-9]{1,5})", re.ASCII)
_ROOT = re.compile(r"~?[\w./-]+", re.ASCII)

# python3 with the packages that lie beside it, and with no others.
_BY_PYTHON = """#!/bin/sh
# Made by edgecnn deploy. Predict with what lies here: run photo.jpg; run --help has the options.
# run --python mine.py runs your own program with the same Python and packages.
here=$(dirname "$(readlink -f "$0")")
export PYTHONPATH="$here/packages" PYTHONNOUSERSITE=1
case ${{1-}} in
--python) shift && exec {python} "$@" ;;
{healthy}esac
exec {python} "$here/predict.pyz" "$@"
"""
_HEALTHY = """--healthy) exec {python} "$here/healthy.py" "$2" {listen} {sha256} {label} "$here/selftest.raw" ;;
"""
_BY_PROGRAM = """#!/bin/sh
# Made by edgecnn deploy. Predict with the model in C: run digit.pgm. It needs nothing that is not here.
here=$(dirname "$(readlink -f "$0")")
[ "${{1-}}" = --self-test ] || exec "$here/predict" "$@"
cd "$here" || exit 2
sha256sum -c SHA256SUMS >/dev/null || {{ echo "error: a file is not as SHA256SUMS says: deploy again"; exit 2; }}
said=$(./predict selftest.raw) || {{ echo "error: the program does not run here ($?)"; exit 2; }}
label=$(echo "$said" | cut -f 2) score=$(echo "$said" | cut -f 3)
thousandths=$(echo "$score" | tr -d .)
if [ "$label" != {label} ] || [ "$thousandths" -lt {low} ] || [ "$thousandths" -gt {high} ]; then
  echo "error: it reads $label with $score, on the workstation "{label}" with {score:.3f}, tolerance {tolerance:g}"
  exit 1
fi
echo "computes what the workstation computed"
"""


@dataclass(frozen=True)
class Parcel:
    """The files of a version by name, its checksums among them, and the packages that it uses, if any."""

    files: Mapping[str, bytes]
    wheels: Wheelhouse | None

    @property
    def version(self) -> str:
        """What it is called there: the hash of its content and its packages."""
        packages = "" if self.wheels is None else self.wheels.digest
        return artifact.sha256(self.files[SUMS] + packages.encode())[:16]

    @property
    def has_service(self) -> bool:
        """Whether it comes with a unit."""
        return UNIT in self.files


def parcel(
    bundle: Mapping[str, bytes], found: Look, *, wheels: Wheelhouse | None, unit: str | None, listen: str
) -> Parcel:
    """Return what to put on the board that was `found`: the bundle, by Python with `wheels`, else by its C program.

    `unit` is the text of deploy/edgecnn.service, for one that serves at `listen`, or None.
    Raises `BoardError` for a bundle that holds programs for another machine.
    """
    _check_machine(bundle, found.machine)
    made = {name: content for name, content in bundle.items() if name != SUMS}
    made["activate.sh"] = files("edgecnn.boards").joinpath("scripts", "activate.sh").read_bytes()
    if wheels is None:
        made[RUN] = _by_program(bundle).encode()
    else:
        made[RUN] = _by_python(bundle, wheels.python, listen if unit is not None else None).encode()
    if unit is not None:
        made[HEALTHY] = files("edgecnn.boards").joinpath(HEALTHY).read_bytes()
        made[UNIT] = unit.replace("@ROOT@", found.root).replace("@LISTEN@", listen).encode()
    return Parcel(with_checksums(dict(sorted(made.items()))), wheels)


def check_root(root: str) -> str:
    """Return the folder for deployments; raises `ConfigError` where a shell or systemd would read it otherwise."""
    if _ROOT.fullmatch(root) is None or ".." in PurePosixPath(root).parts or root.strip("~/.") == "":
        raise ConfigError(f"--root: {root!r}; expected a folder of letters, digits, dots, - and _, like ~/edgecnn")
    return root.rstrip("/")


def check_listen(listen: str) -> str:
    """Return HOST:PORT; raises `ConfigError` for anything else."""
    match = _LISTEN.fullmatch(listen)
    if match is None or not 0 < int(match[2]) < 65_536:
        raise ConfigError(f"--listen: {listen!r}; expected HOST:PORT, such as 127.0.0.1:8000 or 0.0.0.0:8000")
    return listen


def _check_machine(bundle: Mapping[str, bytes], machine: str) -> None:
    for name, content in bundle.items():
        made_for = machine_of(content)
        if made_for is not None and made_for.removesuffix("v7") != machine.removesuffix("v7").removesuffix("v6"):
            raise BoardError(
                f"deploy: {name} is for {made_for}, the board's programs are for {machine}; export another"
            )


def _by_python(bundle: Mapping[str, bytes], python: str, listen: str | None) -> str:
    words = {"python": shlex.quote(python)}
    if listen is None:
        return _BY_PYTHON.format(healthy="", **words)
    label, _, _ = _expected(bundle)
    model = json.loads(bundle[EXPECTED])["model"]
    served = LIBRARY if model not in bundle else model
    words |= {"listen": listen, "sha256": artifact.sha256(bundle[served]), "label": shlex.quote(label)}
    return _BY_PYTHON.format(healthy=_HEALTHY.format(**words), **words)


def _by_program(bundle: Mapping[str, bytes]) -> str:
    if PROGRAM not in bundle:
        raise BoardError("deploy: this bundle has no program in C, and no packages are sent; leave --runtime c out")
    label, score, tolerance = _expected(bundle)
    low, high = (round(1000 * limit) for limit in (score - tolerance, score + tolerance))
    return _BY_PROGRAM.format(label=shlex.quote(label), low=low, high=high, score=score, tolerance=tolerance)


def _expected(bundle: Mapping[str, bytes]) -> tuple[str, float, float]:
    """Return label, probability as it is shown, and tolerance of the self-test's first picture."""
    try:
        expected = json.loads(bundle[EXPECTED])
        scores = [float(score) for score in expected["scores"][0]]
        labels = bundle["labels.txt"].decode().splitlines()
        best = scores.index(max(scores))
        # What bundles of before do not say was near the score.
        return labels[best], float(expected.get("shown", scores[best])), float(expected["tolerance"])
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ArtifactError(
            f"deploy: {EXPECTED} or labels.txt is not a bundle's ({error!r:.80}); export it again"
        ) from None
