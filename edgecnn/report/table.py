"""Measurements as rows of text, the same for the terminal, README and the model card."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_SIGNIFICANT = 0.05

BENCH_HEADINGS = (
    "artifact", "scheme", "runtime", "top-1 %", "95 % interval",
    "size_bytes", "gzip_bytes", "p50 µs", "p90 µs", "p99 µs", "ratio", "cold start ms",
)  # fmt: skip


SEED_HEADINGS = ("seed", "validation top-1 %", "float32 top-1 %", "int8 top-1 %")
_SEED_FIGURES = ("validation_top1", "float32_top1", "int8_top1")


@dataclass(frozen=True)
class Column:
    """A column of the report's table: its heading, what it means, the row's figure and how it is written."""

    heading: str
    meaning: str
    value: Callable[[dict[str, Any]], Any]
    spec: str = ""
    scale: float = 1
    is_text: bool = False

    def cell(self, row: dict[str, Any]) -> str:
        """Return what stands in the table, ``-`` where there is no figure."""
        value = self.value(row)
        if value is None:
            return "-"
        return str(value) if self.is_text else format(value * self.scale, self.spec)

    def sort_value(self, row: dict[str, Any]) -> str:
        """Return what the row is sorted by, empty where there is no figure."""
        value = self.value(row)
        return "" if value is None else str(value)


REPORT_COLUMNS = (
    Column("artifact", "path in the run", lambda row: row["artifact"], is_text=True),
    Column("runtime", "what ran it", lambda row: row["runtime"], is_text=True),
    Column("top-1 %", "accuracy on the test images", lambda row: row["top1"], ".2f", 100),
    Column("at least %", "low end of the 95 % Wilson interval", lambda row: row["top1_low"], ".2f", 100),
    Column("at most %", "high end of the 95 % Wilson interval", lambda row: row["top1_high"], ".2f", 100),
    Column(
        "p vs. baseline",
        "McNemar's exact test; 0.05 or more: the difference may be noise",
        lambda row: row["mcnemar_p"],
        ".2g",
    ),
    Column("accepted %", "of the test images, by the record's rule", lambda row: row.get("accepted"), ".1f", 100),
    Column("of these %", "accuracy on what is accepted", lambda row: row.get("top1_accepted"), ".2f", 100),
    Column(
        "wrong of first 100",
        "mistakes among the first 100 test images, or all where there are fewer",
        lambda row: row["first_100_wrong"],
        "d",
    ),
    Column("agrees %", "same top-1 as its reference", lambda row: row["top1_agreement"], ".2f", 100),
    Column("size_bytes", "bytes of the file", lambda row: row["size_bytes"], ","),
    Column("gzip_bytes", "bytes after gzip -9", lambda row: row["gzip_bytes"], ","),
    Column("p50 µs", "median latency of the median round", lambda row: row["p50_us"], ".1f"),
    Column("p90 µs", "of the same round", lambda row: row["p90_us"], ".1f"),
    Column("p99 µs", "of the same round", lambda row: row["p99_us"], ".1f"),
    Column("ratio", "p50 to the baseline's, turn by turn", lambda row: row["ratio_to_baseline"], ".2f"),
    Column("file to label µs", "decode, preprocess and predict: p50", lambda row: row["end_to_end_p50_us"], ",.0f"),
    Column("cold start ms", "process start to first inference", lambda row: row["cold_start_ms"], ".0f"),
    Column("RSS MB", "peak memory over a bare Python's", lambda row: row["rss_over_python_bytes"], ".1f", 1e-6),
)


_OF_A_LAYER = ("name", "kind", "output_shape", "scale", "zero_point", "sqnr_db", "weight_sqnr_db")
_SUMMED = ("parameters", "nonzero_parameters", "macs", "effective_macs", "weight_bytes")
_MACS = ("MACs", "effective MACs")
_KERNEL = ("kernel_weights", "nonzero_kernel_weights")

LAYER_COLUMNS = (
    Column("layer", "name in the file", lambda row: row["name"], is_text=True),
    Column("kind", "operation", lambda row: row["kind"], is_text=True),
    Column("output", "shape, N where it is open", lambda row: _shape(row["output_shape"]), is_text=True),
    Column("parameters", "weights and biases", lambda row: row["parameters"], ","),
    Column("nonzero", "those that are not zero", lambda row: row["nonzero_parameters"], ","),
    Column("sparsity %", "zeros among the kernel's weights", lambda row: row["sparsity"], ".1f", 100),
    Column("MACs", "multiply-accumulates of one inference", lambda row: row["macs"], ","),
    Column("MACs %", "share of all", lambda row: row["macs_share"], ".1f", 100),
    Column("effective MACs", "those whose weight is not zero", lambda row: row["effective_macs"], ","),
    Column("weight_bytes", "what the constants take in the file", lambda row: row["weight_bytes"], ","),
    Column("bytes %", "share of all weight_bytes", lambda row: row["weight_bytes_share"], ".1f", 100),
    Column("SQNR dB", "output against float32", lambda row: decibels(row["sqnr_db"]), is_text=True),
    Column("weights dB", "SQNR of the kernel's weights", lambda row: decibels(row["weight_sqnr_db"]), is_text=True),
    Column("scale", "of the output", lambda row: row["scale"], ".6g"),
    Column("zero point", "of the output", lambda row: row["zero_point"], "d"),
)


def is_sparse(parameters: int, nonzero_parameters: int) -> bool:
    """Return whether zeros are a property of a model with so many parameters: training leaves few by itself."""
    return nonzero_parameters < 0.9 * parameters


def bench_rows(results: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return one row of cells per measurement, in the order of `BENCH_HEADINGS`; ``-`` where there is no figure."""
    return [
        [
            result["artifact"],
            result["scheme"] or "-",
            result["runtime"],
            _percent(result["top1"]),
            f"{_percent(result['top1_low'])} to {_percent(result['top1_high'])}" if result["top1"] is not None else "-",
            f"{result['size_bytes']:,}",
            f"{result['gzip_bytes']:,}",
            *(_figure(result[key], ".1f") for key in ("p50_us", "p90_us", "p99_us")),
            _figure(result["ratio_to_baseline"], ".2f"),
            _figure(result["cold_start_ms"], ".0f"),
        ]
        for result in results
    ]


def seed_rows(recorded: dict[str, Any]) -> list[list[str]]:
    """Return one row of cells per seed of a recording of several, and last their mean, in order of `SEED_HEADINGS`."""
    rows = [[str(row["seed"]), *(_percent(row[key]) for key in _SEED_FIGURES)] for row in recorded["rows"]]
    means = (sum(row[key] for row in recorded["rows"]) / len(rows) for key in _SEED_FIGURES)
    return [*rows, ["mean", *(f"{mean * 100:.3f}" for mean in means)]]


def layer_figures(layers: Sequence[Any]) -> list[dict[str, Any]]:
    """Return the figures of each `inspect.Layer`, shares as fractions, and last those of all of them together.

    Where the MACs of a layer are unknown, so are those of all and each one's share.
    """
    rows = [{key: getattr(layer, key) for key in (*_OF_A_LAYER, *_SUMMED, "sparsity")} for layer in layers]
    sums = {key: None if any(row[key] is None for row in rows) else sum(row[key] for row in rows) for key in _SUMMED}
    kernel, nonzero = (sum(getattr(layer, key) for layer in layers) for key in _KERNEL)
    total = dict.fromkeys(_OF_A_LAYER) | sums | {"name": "total", "sparsity": 1 - nonzero / kernel if kernel else None}
    for row in (*rows, total):
        row["macs_share"] = row["macs"] / sums["macs"] if sums["macs"] else None
        row["weight_bytes_share"] = row["weight_bytes"] / sums["weight_bytes"] if sums["weight_bytes"] else None
    return [*rows, total]


def layer_table(figures: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return (headings, rows of cells) for what `layer_figures` returns; columns without a figure are left out.

    Those of MACs never are: where unknown, ``-`` stands there, in the row of the total too.
    """
    columns = [c for c in LAYER_COLUMNS if c.heading in _MACS or any(c.value(row) is not None for row in figures)]
    *layers, total = figures
    rows = [[column.cell(row) for column in columns] for row in layers]
    sums = ["" if c.value(total) is None and c.heading not in _MACS else c.cell(total) for c in columns]
    return [column.heading for column in columns], [*rows, sums]


def to_markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a markdown table, text columns left and figures right; what a cell says stays text."""
    figures = [all(_is_figure(row[i]) for row in rows) for i in range(len(headings))]
    lines = [
        headings,
        ["---:" if figure else "---" for figure in figures],
        *([escaped(cell) for cell in row] for row in rows),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def escaped(text: str) -> str:
    """Return text that markdown shows as it is: neither the end of a cell nor the begin of a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def notes(measured: dict[str, Any]) -> list[str]:
    """Return what must be said beside a table of measurements: the baseline, errors, and unclean conditions."""
    rows = measured["results"]
    compared = any(row["ratio_to_baseline"] is not None for row in rows)
    ratio = f"ratio: p50 to that of {measured['baseline']}, formed turn by turn"
    lines = [ratio] if compared and measured["baseline"] else []
    lines += _differences(rows)
    lines += [
        f"{row['artifact']} ({row['runtime']}): {row[key]}" for row in rows for key in ("error", "note") if row.get(key)
    ]
    return lines + [f"not clean: {reason}" for reason in measured["conditions"]["not_clean"]]


def decibels(ratio: float | None) -> str | None:
    """Return a ratio in dB with one digit, ``exact`` where it is infinite for want of any error."""
    return None if ratio is None else "exact" if ratio == math.inf else f"{ratio:.1f}"


def _shape(sizes: Sequence[int] | None) -> str | None:
    return None if sizes is None else "x".join("N" if n < 0 else str(n) for n in sizes)


def _differences(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return which models' top-1 differs from the baseline's by more than noise, as far as the test images can tell."""
    tested = [row for row in rows if row.get("mcnemar_p") is not None]
    real = [f"{row['artifact']} (p = {row['mcnemar_p']:.2g})" for row in tested if row["mcnemar_p"] < _SIGNIFICANT]
    if not tested:
        return []
    said = f"differs from the baseline's in {', '.join(real)}" if real else "is that of the baseline, within noise"
    return [f"top-1 {said} (McNemar's exact test, p {'<' if real else '>='} {_SIGNIFICANT})"]


def _figure(value: float | None, spec: str) -> str:
    return "-" if value is None else format(value, spec)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.2f}"


def _is_figure(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").isdigit()
