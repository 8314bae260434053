"""README's pictures: stale ones are found, names never lie on each other, what is not recorded is not said."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from benchmarks import pareto, readme, standings
from edgecnn.bench.accuracy import wilson_interval
from edgecnn.report.figures import to_png


def a_model(name: str, wrong: int, parameters: int, nonzero: int, sizes: tuple[int, int, int | None]) -> dict[str, Any]:
    low, high = wilson_interval(10_000 - wrong, 10_000)
    figures = {"top1": 1 - wrong / 10_000, "top1_low": low, "top1_high": high}
    bytes_ = dict(zip(("size_bytes", "gzip_bytes", "sparse_bytes"), sizes, strict=True))
    return {"name": name, **figures, "parameters": parameters, "nonzero_parameters": nonzero, **bytes_}


SIX = [
    a_model("edge35k", 37, 35_030, 34_800, (45_008, 36_870, 35_600)),
    a_model("edge35k-sparse80", 46, 35_030, 7_170, (43_208, 15_081, 11_800)),
    a_model("edge35k-sparse90", 47, 35_030, 3_650, (43_208, 10_500, 7_600)),
    a_model("edge12k", 47, 12_034, 12_000, (21_000, 13_900, 12_300)),
    a_model("edge4k", 66, 4_012, 4_000, (12_800, 6_900, 4_200)),
    a_model("edge1k", 99, 1_044, 1_044, (9_300, 4_100, None)),
]


def test_a_picture_of_other_figures_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pareto, "BENCHMARKS", tmp_path)
    both = ["pareto-parameters.png", "pareto-bytes.png"]
    assert pareto.stale() == both
    pareto.draw()
    assert pareto.stale() == []
    monkeypatch.setattr(pareto, "released", lambda: SIX)
    assert pareto.stale() == both
    pareto.draw()
    assert pareto.stale() == []


@pytest.mark.parametrize("figure", ["parameters", "bytes"])
def test_names_lie_neither_on_each_other_nor_outside(figure: str) -> None:
    drawn = pareto.by_parameters(SIX, pareto.printed()) if figure == "parameters" else pareto.by_bytes(SIX)
    to_png(drawn)
    names = {text.get_text(): text for text in drawn.findobj(Text) if text.get_text().startswith("edge") and text.axes}
    assert set(names) == {model["name"] for model in SIX}
    boxes = {name: text.get_window_extent() for name, text in names.items()}
    for one, other in combinations(boxes.values(), 2):
        assert not one.overlaps(other)
    for box in boxes.values():
        assert drawn.bbox.containsx(box.x0)
        assert drawn.bbox.containsx(box.x1)


def test_the_reference_systems_are_all_there() -> None:
    networks = [row for system in standings.recording("reference")["systems"] for row in system["rows"]]
    assert len(networks) == 25 + 5, "five systems, and the best public figures of small networks"
    assert sum(row["top1_percent"] is None for row in networks) == 1, "that of 100 classes is not of MNIST"


def test_seeds_are_a_table_once_they_are_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for module in (readme, standings):
        monkeypatch.setattr(module, "BENCHMARKS", tmp_path)
    assert readme.seeds() == ""
    rows = [
        {"seed": seed, "validation_top1": 0.994, "float32_top1": 0.996 + seed / 10_000, "int8_top1": 0.996}
        for seed in range(5)
    ]
    recorded = {"recipe": "strong", "data": "mnist", "images": 10_000, "rows": rows}
    (tmp_path / "seeds.json").write_text(json.dumps(recorded))
    table = readme.seeds()
    assert "recipe `strong` with 5 seeds, over\n10,000 test images" in table
    assert "| 4 | 99.40 | 99.64 | 99.60 |" in table
    assert "| mean | 99.400 | 99.620 | 99.600 |" in table


def test_recordings_that_miss_a_released_file_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = standings.hashes()
    assert standings.changed() == []
    monkeypatch.setattr(standings, "hashes", lambda: found | {"0" * 64: ("edge0k", "int8.tflite")})
    assert standings.changed() == ["released.json"]
    monkeypatch.setattr(standings, "hashes", lambda: {"0" * 64: ("edge35k", "int8.tflite")})
    assert standings.changed() == ["released.json", "peers.json"]
