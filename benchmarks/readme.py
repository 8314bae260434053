"""Write generated parts and pictures of the pages from code and recordings: python -m benchmarks.readme [--check]."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import api, pareto, search, standings
from benchmarks import trust as trusted
from benchmarks.commands import goal
from benchmarks.standings import BENCHMARKS, ROOT, recording
from edgecnn.cli import app
from edgecnn.config.names import DATA_SETS
from edgecnn.config.recipes import RECIPES
from edgecnn.config.settings import Recipe
from edgecnn.pipeline.architectures import ZOO_HEADINGS, zoo_rows
from edgecnn.report.table import SEED_HEADINGS, is_sparse, notes, seed_rows, to_markdown

README = ROOT / "README.md"
FIGURES = BENCHMARKS / "README.md"
API = ROOT / "edgecnn" / "API.md"


def main(arguments: list[str]) -> int:
    """Rewrite the pages and the pictures, or with --check exit 1 naming what is stale."""
    if "--check" not in arguments:
        for page in PARTS:
            page.write_text(_fresh(page))
        pareto.draw()
        return 0
    if changed := standings.changed():
        print(
            f"{', '.join(changed)}: not of the released models as they are; run: make bench bench-peers",
            file=sys.stderr,
        )
        return 1
    if stale_pictures := pareto.stale():
        print(
            f"{', '.join(stale_pictures)}: drawn from other figures or by other code; run: python -m benchmarks.readme",
            file=sys.stderr,
        )
        return 1
    stale = [f"{_name(page)}: {name}" for page in PARTS for name in _stale(page)]
    if stale:
        print(f"{', '.join(stale)} differ from code and recorded results; run: make bench", file=sys.stderr)
    return int(bool(stale))


def _fresh(page: Path) -> str:
    text = page.read_text()
    for name, part in PARTS[page].items():
        text = replaced(text, name, part(), page=page)
    return text


def _stale(page: Path) -> list[str]:
    text = page.read_text()
    return [name for name, part in PARTS[page].items() if replaced(text, name, part(), page=page) != text]


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def replaced(text: str, name: str, content: str, *, page: Path) -> str:
    """Return the `text` of a page with what stands between the markers of part `name` replaced."""
    pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
    result, count = re.subn(pattern, lambda m: f"{m[1]}\n{content}\n{m[2]}", text, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{_name(page)}: {count} parts marked 'generated: {name}'; expected one")
    return result


def commands() -> str:
    """Return the table of commands with the first sentence of each one's help."""
    rows = []
    groups = [(f"{group.name} ", group.typer_instance) for group in app.registered_groups]
    for prefix, commands in [("", app), *groups]:
        assert commands is not None
        functions = [(command.callback, prefix) for command in commands.registered_commands]
        if prefix and commands.registered_callback:  # a group that is a command too, and named as its function
            functions.insert(0, (commands.registered_callback.callback, ""))
        for function, before in functions:
            assert function is not None
            assert function.__doc__ is not None
            rows.append((f"`edgecnn {before}{function.__name__}`", function.__doc__.strip()))
    return to_markdown(("command", "what it does"), rows)


def recipes() -> str:
    """Return the table of recipes from RECIPES."""
    rows = [
        (
            f"`{name}`",
            f"{recipe.training.epochs} epochs, batch {recipe.training.batch_size}, "
            f"Adam {recipe.training.learning_rate}{_extras_of(recipe)}",
            f"to {recipe.pruning.final_sparsity:.0%} in {recipe.pruning.ramp_epochs} of "
            f"{recipe.pruning.training.epochs} epochs",
            f"{recipe.clustering.clusters} in {recipe.clustering.training.epochs} epochs",
            f"{recipe.qat.epochs} epochs, Adam {recipe.qat.learning_rate}",
            ", ".join(data for data, default in DATA_SETS.items() if default == name) or "-",
        )
        for name, recipe in RECIPES.items()
    ]
    return to_markdown(("recipe", "training (at most)", "pruning", "clusters", "QAT", "default of"), rows)


def _extras_of(recipe: Recipe) -> str:
    """Return what the training of a recipe does besides Adam on the images as they are."""
    training, teacher = recipe.training, recipe.teacher
    said = {
        "cosine schedule": training.schedule == "cosine",
        "distorted images": training.augmentation is not None,
        "averaged weights": training.average_decay > 0,
        f"taught by {teacher.members} {teacher.arch}" if teacher else "": teacher is not None,
    }
    return "".join(f", {name}" for name, is_so in said.items() if is_so)


def released() -> str:
    """Return the table of the released models from released.json: all files of edge35k, of the others three."""
    recorded = recording("released")
    conditions = recorded["conditions"]
    latency = conditions["latency"]
    shown = [one for one in standings.all_of_them() if one.model == "edge35k" or one.file != "float32.onnx"]
    table = to_markdown(RELEASED_HEADINGS, [_released_row(one) for one in shown])
    said = "\n".join(f"- {note}" for note in notes(recorded))
    return (
        f"Top-1 on the test images of {recorded['data']['name']} with its 95 % Wilson interval; latency of one\n"
        f"inference at batch 1 on one thread, Python call included: the median of {latency['rounds']} rounds of\n"
        f"{latency['seconds_at_least']:g} s, the models taking turns, on {conditions['cpu']}. sparse_bytes: the int8\n"
        f"weights in the encoding of [edgecnn/export/sparse.py](edgecnn/export/sparse.py).\n\n{table}\n{said}"
    )


def _released_row(one: standings.Standing) -> list[str]:
    row = one.row
    sparse = is_sparse(row["parameters"], row["nonzero_parameters"])
    top1, low, high = (f"{row[key] * 100:.2f}" for key in ("top1", "top1_low", "top1_high"))
    return [
        one.model,
        one.file,
        f"{row['parameters']:,}" + (f" ({row['nonzero_parameters']:,})" if sparse else ""),
        top1,
        f"{low} to {high}",
        f"{row['size_bytes']:,}",
        f"{row['gzip_bytes']:,}",
        f"{row['sparse_bytes']:,}" if row.get("sparse_bytes") else "-",
        f"{row['p50_us']:.1f}",
        f"{row['ratio_to_baseline']:.2f}",
    ]


def seeds() -> str:
    """Return the table of several seeds from seeds.json, nothing where it was not recorded."""
    if not (BENCHMARKS / "seeds.json").exists():
        return ""
    recorded = recording("seeds")
    table = to_markdown(SEED_HEADINGS, seed_rows(recorded))
    return (
        f"edge35k by the recipe `{recorded['recipe']}` with {len(recorded['rows'])} seeds, over\n"
        f"{recorded['images']:,} test images (`python -m benchmarks.seeds`):\n\n{table}"
    )


def architectures() -> str:
    """Return the table of the zoo, with what zoo.json records of ours."""
    return to_markdown(ZOO_HEADINGS, [(f"`{name}`", *cells) for name, *cells in zoo_rows()])


def peers() -> str:
    """Return the table of the released models beside other runtimes from peers.json, the fastest first."""
    recorded = recording("peers")
    conditions, best = recorded["conditions"], recorded["best"]
    rows = [
        (
            row["artifact"],
            row["runtime"],
            f"{row['top1'] * 100:.2f}",
            f"{row['p50_us']:.1f}",
            f"{row['ratio_to_best']:.2f}",
            f"{row['runtime_installed_bytes'] / 1e6:.0f}",
        )
        for row in sorted(recorded["results"], key=lambda row: row["ratio_to_best"] or 0)
        if row["error"] is None
    ]
    table = to_markdown(("artifact", "runtime", "top-1 %", "p50 µs", "ratio", "installed MB"), rows)
    versions = ", ".join(f"{name} {conditions['versions'][name]}" for name in RUNTIMES)
    said = "\n".join(f"- {note}" for note in notes(recorded | {"baseline": None}))
    return (
        f"One inference at batch 1 on one thread, Python call included, all in the same rounds, on\n"
        f"{conditions['cpu']}; {versions}.\n"
        f"ratio: p50 to that of our fastest, {best}, formed turn by turn; installed: with numpy.\n\n{table}\n{said}"
    )


def times() -> str:
    """Return the table of whole-process times from commands.json."""
    recorded = recording("commands")
    rows = [
        (f"`{row['command']}`", f"{row['median_s']:.3f}", f"{row['ratio']:.2f}", goal(row) or "-")
        for row in recorded["results"]
    ]
    runs = recorded["conditions"]["runs"]
    table = to_markdown(("whole process", "median s", "ratio", "at most"), rows)
    return f"{runs} runs each with warm caches, taking turns, on {recorded['conditions']['host']['cpu']}.\n\n{table}"


def trust() -> str:
    """Return the tables of what is refused and accepted from trust.json."""
    recorded = recording("trust")
    goals = "; ".join(
        f"{goal['what']} {100 * goal['is']:.2f} %, goal {goal['goal']}{'' if goal['met'] else ': missed'}"
        for goal in recorded["goals"]
    )
    return f"edge35k's int8.tflite (`python -m benchmarks.trust`):\n\n{trusted.summary(recorded)}\n\nGoals: {goals}."


# The packages whose versions stand beside the peers' figures.
RUNTIMES = ("ai-edge-litert", "onnxruntime", "openvino", "MNN", "ncnn")
RELEASED_HEADINGS = (
    "model", "file", "parameters (not zero)", "top-1 %", "95 % interval", "size_bytes", "gzip_bytes", "sparse_bytes",
    "p50 µs", "ratio",
)  # fmt: skip


def searched() -> str:
    """Return what a search found beside hand-made configurations, and the goals; nothing where none is recorded."""
    if not (BENCHMARKS / "search.json").exists():
        return ""
    recorded = recording("search")
    lines = [f"`python -m benchmarks.search`, on {next(iter(recorded.values()))['conditions']['cpu']}."]
    if found := recorded.get("front"):
        rows = [
            (
                f"`{row['arch']}`",
                f"{row['top1'] * 100:.2f}",
                f"{row['size_bytes']:,}",
                ", ".join(map(str, row["dominated_by"])) or "-",
            )
            for row in found["hand_made"]
        ]
        lines += [
            f"{found['trials']}, in {found['front_seconds']:,.0f} s with 2 workers. Beside it, networks of the zoo "
            f"trained as the recipe `{found['hand_made'][0]['recipe']}` says, int8, judged on validation:",
            to_markdown(("hand-made", "top-1 %", "size_bytes", "dominated by trial"), rows).rstrip("\n"),
        ]
    return "\n\n".join([*lines, search.goals(recorded)])


PARTS: dict[Path, dict[str, Callable[[], str]]] = {
    README: {
        "released": released,
        "pareto": pareto.part,
        "seeds": seeds,
        "commands": commands,
        "recipes": recipes,
        "zoo": architectures,
        "times": times,
    },
    FIGURES: {"peers": peers, "trust": trust, "search": searched},
    API: {"api": api.part},
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
