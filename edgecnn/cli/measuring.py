"""`edgecnn bench` and `report`: models measured, and a measured run drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgecnn.cli.options import (
    ROOT,
    DataDirOption,
    MovedOption,
    ResizeOption,
    RootOption,
    RunArgument,
    SshConfigOption,
    SshOption,
)
from edgecnn.cli.said import takes_said
from edgecnn.cli.terminal import print_bench, progress, say
from edgecnn.device.resolution import NOTHING_SAID, Said


@takes_said
def bench(
    targets: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Run directory, model files or names of released models. Default: the latest run, else edge35k.",
            show_default=False,
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime", help="Runtimes, by comma; also c, openvino, mnn, ncnn. Default: the board's, if installed."
        ),
    ] = None,
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads of a runtime.")] = 1,
    pin: Annotated[str | None, typer.Option("--pin", help="Cores to run on, by comma: 0 or 2,3.")] = None,
    shape: Annotated[str | None, typer.Option("--shape", help="Input shape for a model that leaves it open.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look: rounds of a tenth of a second.")] = False,
    thorough: Annotated[bool, typer.Option("--thorough", help="MLPerf Tiny's rule: rounds of ten seconds.")] = False,
    rounds: Annotated[int | None, typer.Option("--rounds", min=1, help="Rounds to measure. [default: 5]")] = None,
    baseline: Annotated[str | None, typer.Option("--baseline", help="Artifact that ratios refer to.")] = None,
    check: Annotated[
        Path | None, typer.Option("--check", help="Budget file (TOML); exit 1, naming each limit that is broken.")
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", help="A limit for every row, over --check: top1_min=0.99. Repeatable."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="Where the JSON goes. Default: the run's bench/bench.json.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data", help="Data set for model files that have no record; where a run's images lie, if moved."
        ),
    ] = None,
    resize: ResizeOption = None,
    data_dir: DataDirOption = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="ssh://USER@HOST, with what edgecnn deploy put there, or pi-emulator, without times. Default: here.",
            show_default=False,
        ),
    ] = None,
    root: RootOption = ROOT,
    stated: Said = NOTHING_SAID,
    ssh_option: SshOption = None,
    ssh_config: SshConfigOption = None,
) -> None:
    """Measure accuracy, size, latency and cold start of models, each in a process of its own, taking turns."""
    from edgecnn import artifact, pipeline
    from edgecnn.cli import choose

    limits = choose.budget(check, budget)
    options: dict[str, Any] = {
        "setting": choose.setting(quick=quick, thorough=thorough, rounds=rounds, threads=threads, pin=pin, shape=shape),
        "runtimes": runtime.split(",") if runtime else None,
        "baseline": baseline,
        "keras": not quick,  # TensorFlow takes longer to start than a look may
    }
    opened, models = choose.bench_targets(targets)
    if json is not None:
        artifact.check_writable(json)
    with choose.bench_place(device, root, options=ssh_option, config=ssh_config) as place:
        options["place"] = place
        say(f"measuring {opened.root if opened else ', '.join(map(str, models))}")
        if opened is not None:
            choose.refuse({"--resize": resize}, f"run {opened.root} has its own")
            choose.refuse_said(stated, f"the records of run {opened.root} say it")
            out = opened.bench
            with progress() as observe, pipeline.reopen(opened, moved=data, data_dir=data_dir, observe=observe) as work:
                result = pipeline.bench_run(opened, data=work.data, observe=observe, **options)
        else:
            out = json or Path("edgecnn-bench.json")
            with progress() as observe:
                known = pipeline.own_inputs(models, data, stated) or choose.data_of(
                    models, data, resize=resize, data_dir=data_dir, observe=observe
                )
                result = pipeline.bench(
                    models, data=known, out=out, must_fit=data is not None, said=stated, observe=observe, **options
                )
    if json not in (None, out):
        artifact.write_atomic(Path(json or out), out.read_text())
    for line in dict.fromkeys(f"{row['artifact']}: {row['note']}" for row in result["results"] if row["assumed"]):
        say(f"warning: {line}")
    print_bench(out)
    if opened is not None and out.with_name("report.html").exists():
        say(f"report.html beside it shows what was measured before; draw it again: edgecnn report {opened.root}")
    print(json or out)
    pipeline.check_budget(result, limits)


def report(
    run: RunArgument = None,
    format: Annotated[str, typer.Option("--format", help="html (one page, opens offline) or markdown.")] = "html",
    artifact: Annotated[
        str | None,
        typer.Option("--artifact", help="Whose mistakes and layers are drawn. Default: the baseline's int8.tflite."),
    ] = None,
    data: MovedOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Draw a measured run: trade-offs, learning curves, mistakes, calibration, layers; the last line is the path."""
    from edgecnn import extras, pipeline
    from edgecnn.cli import choose

    extras.require("report", needed_by="report")
    opened = choose.complete_run(run)
    with progress() as observe:
        images = choose.data_to_show(opened, moved=data, data_dir=data_dir, observe=observe)
    print(pipeline.report(opened, data=images, form=format, shown=artifact))
