"""The process in which one model runs in one runtime; `subject.py` is its other end.

Started as ``python -m edgecnn.bench.worker '{"model": ..., "runtime": ..., "threads": 1, "pin": null}'``. It says what
it loaded, then answers one JSON line a command on standard input: its name and arguments, see `Worker`. Whatever
kills this process (an illegal instruction, memory) costs a row of the table and not the benchmark.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgecnn.bench.latency import durations_ns, measure_latency, percentiles, warm_up
from edgecnn.device.classifier import Classifier, contract_of
from edgecnn.device.contract import from_dict
from edgecnn.device.errors import ModelError
from edgecnn.device.files import C_LIBRARY
from edgecnn.device.predictor import Predictor
from edgecnn.device.runtimes import loader as runtimes
from edgecnn.device.runtimes.quiet import quiet

STARTED_NS = "EDGECNN_STARTED_NS"  # set by who starts this process far from who asks: when that was


class Worker:
    """Holds the loaded model; each public method is a command and returns what is answered."""

    def __init__(
        self,
        model: Path,
        runtime: str,
        threads: int,
        shape: list[int] | None,
        library: str | None,
        contract: dict[str, Any] | None,
    ) -> None:
        self._model = _loaded(model, runtime, threads, shape, library)
        self._contract = None if contract is None else from_dict(contract)
        for spec in self._model.inputs:
            if runtimes.has_open_sizes(spec):
                raise ModelError(f"{model}: input {spec.name} is {list(spec.shape)}; pass --shape with every size")
        self._arrays = [runtimes.zeros(spec) for spec in self._model.inputs]
        self._round: list[int] = []  # nanoseconds of the calls since the last end of a round

    def first(self) -> dict[str, Any]:
        """Run once on zeros, as a cold start does; describe the model and the memory it took at its peak."""
        with quiet():
            self._invoke()
        inputs, outputs = ([asdict(s) for s in specs] for specs in (self._model.inputs, self._model.outputs))
        return {"inputs": inputs, "outputs": outputs, "peak_rss_bytes": peak_rss_bytes()}

    def classify(self, images: str, out: str) -> dict[str, Any]:
        """Write the class probabilities of the images in file `images` to file `out` (both .npy).

        They are uint8 [N, H, W, C], or [N, ...] of the network's own input.
        """
        given, classifier = np.load(images), self._classifier()
        np.save(out, classifier.probabilities(given))
        self._arrays = [classifier.encoded(given[:1])]  # a real image is timed from now on
        return {"images": len(given)}

    def warm_up(self, seconds: float) -> dict[str, Any]:
        """Call until stable."""
        return {"calls": warm_up(self._invoke, seconds=seconds)}

    def turn(self, runs: int, seconds: float) -> dict[str, Any]:
        """Time the model alone: arrays in, arrays out, Python call included; the calls count for this round."""
        durations = durations_ns(self._invoke, runs=runs, seconds=seconds)
        self._round.extend(durations)
        return asdict(percentiles(durations))

    def end_round(self) -> dict[str, Any]:
        """Return the percentiles of all calls since the last end of a round."""
        durations, self._round = self._round, []
        return asdict(percentiles(durations))

    def end_to_end(self, image: str, runs: int, seconds: float) -> dict[str, Any]:
        """Time from an image file to a label: decode, preprocess, predict."""
        predictor = Predictor(self._model, contract=self._contract)
        return asdict(measure_latency(lambda: predictor.predict(image), runs=runs, seconds=seconds))

    def cpu(self) -> dict[str, Any]:
        """Return the CPU seconds that this process took."""
        return {"cpu_s": sum(os.times()[:4])}

    def _invoke(self) -> object:
        return self._model.invoke(self._arrays)

    def _classifier(self) -> Classifier:
        return Classifier(self._model, self._contract or contract_of(self._model))


def _loaded(
    model: Path, runtime: str, threads: int, shape: list[int] | None, library: str | None
) -> runtimes.LoadedModel:
    if runtime not in (C_LIBRARY, *runtimes.RUNTIMES):
        from edgecnn.bench import peers  # here, for it would count in the cold start of the board's own

        return peers.load(model, runtime=runtime, threads=threads, shape=shape)
    # The parent compared the file with its record; this process is the one that may die of it.
    made = None if library is None else Path(library)
    return runtimes.load(model, runtime=runtime, threads=threads, shape=shape, probe_first=False, library=made)


def peak_rss_bytes() -> int | None:
    """Return this process' peak resident memory (VmHWM; unlike ru_maxrss it does not inherit the parent's)."""
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():  # an emulated board has none
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


def main(text: str) -> None:
    """Serve commands until standard input ends; `text` holds the options as JSON."""
    options = json.loads(text)
    started_ns = os.environ.get(STARTED_NS)
    # Answers leave through a descriptor of their own: runtimes print to stdout when they please.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        if options["pin"] is not None:
            os.sched_setaffinity(0, options["pin"])
        worker = Worker(Path(options.pop("model")), **{k: v for k, v in options.items() if k != "pin"})
        answer = worker.first()
        if started_ns is not None:  # of the clock since boot, which all processes share
            answer["cold_start_ms"] = (time.monotonic_ns() - int(started_ns)) / 1e6
    except Exception as error:
        print(json.dumps({"error": _one_line(error)}), file=answers)
        return
    print(json.dumps(answer), file=answers)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = getattr(worker, name)(**arguments)
        except Exception as error:  # the project's own, or anything a runtime raises
            answer = {"error": _one_line(error)}
        print(json.dumps(answer), file=answers)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


if __name__ == "__main__":
    main(sys.argv[1])
