"""The whole run: complete, resumable after SIGKILL with the same bytes, and refusing what was changed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecnn import artifact, zoo
from edgecnn.artifact import Run
from edgecnn.config import RunConfig, configure
from edgecnn.config.settings import Augmentation, Distillation, Teacher, Training
from edgecnn.errors import ArtifactError, ConfigError, GateError
from edgecnn.pipeline import (
    Target,
    Workspace,
    begin,
    cluster,
    export,
    load_data,
    prune,
    read_config,
    release,
    train,
    train_quantized,
)
from edgecnn.pipeline.release import FILES, command_of
from edgecnn.train import Lesson, lesson_bytes
from tests.conftest import ROOT, Edgecnn, stored_kernels

EXPORTS = {
    "baseline": ["dynamic.tflite", "float16.tflite", "float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite"],
    "pruned80": ["float32.onnx", "float32.tflite", "int8.onnx", "int8.tflite"],
    "pruned80-qat": ["int8.onnx", "int8.tflite"],
}


def models_in(root: Path) -> dict[str, str]:
    """Return the sha256 of every model file by its path in the run."""
    files = [path for path in sorted(root.rglob("*")) if path.suffix in artifact.MODEL_SUFFIXES]
    return {str(path.relative_to(root)): artifact.sha256(path.read_bytes()) for path in files}


def workspace(root: Path) -> Workspace:
    config = read_config(Run(root))
    return Workspace(Run(root), config, load_data(config))


@pytest.fixture
def copied_run(quick_run: Path, tmp_path: Path) -> Path:
    """Return a copy of the quick run that a test may damage."""
    return Path(shutil.copytree(quick_run, tmp_path / "run"))


def test_a_run_holds_every_stage(quick_run: Path) -> None:
    for recipe, files in EXPORTS.items():
        found = sorted(p.name for p in (quick_run / "export" / recipe).iterdir() if p.suffix != ".json")
        assert found == files
    assert Run(quick_run).recipes() == ["baseline", "pruned80", "pruned80-qat"]
    assert not list(quick_run.rglob("checkpoint.npz"))
    assert list(quick_run.rglob(".*")) == [], "no temporary file is left"
    assert [problem for _, problem in artifact.verify(quick_run) if problem] == []


def test_records_say_where_everything_came_from(quick_run: Path) -> None:
    baseline = artifact.checked(quick_run / "train" / "model.keras")
    pruned = artifact.checked(quick_run / "compress" / "pruned80" / "model.keras")
    int8 = artifact.checked(quick_run / "export" / "pruned80" / "int8.tflite")
    assert baseline.parents == {}
    assert pruned.parents == {"../../train/model.keras": baseline.sha256}
    assert int8.parents == {"../../compress/pruned80/model.keras": pruned.sha256}
    assert baseline.parameters == 35_030
    assert pruned.nonzero_parameters < 0.21 * 35_030
    assert (int8.contract.shape, int8.contract.picture, int8.contract.is_unit) == ((28, 28, 1), "digit", True)
    assert (int8.contract.input.dtype, int8.contract.output.dtype) == ("uint8", "int8")
    assert set(int8.contract.sources.values()) == {"training"}
    assert int8.metrics.keys() >= {"top1_agreement", "max_abs_error", "drop_pp", "validation_top1", "mcnemar_p"}
    for record in (baseline, pruned, int8):
        figures = record.metrics
        assert 0.5 < figures["balanced_low"] <= figures["balanced_top1"] <= figures["balanced_high"] <= 1
        assert (figures["at_chance"], figures["never_predicted"]) == (False, [])
        assert record.data["name"] == "digits"
        assert record.versions["tensorflow"]
        assert (record.seed, record.schema) == (0, 2)


def test_bench_has_a_row_per_artifact_and_runtime(quick_run: Path) -> None:
    result = json.loads((quick_run / "bench" / "bench.json").read_text())
    names = {row["artifact"] for row in result["results"]}
    assert names == {f"export/{recipe}/{file}" for recipe, files in EXPORTS.items() for file in files}
    assert result["schema"] == 2
    assert result["data"]["test_images"] == 359
    assert result["baseline"] == "export/baseline/float32.onnx"
    for row in result["results"]:
        assert 0 <= row["top1_low"] <= row["top1"] <= row["top1_high"] <= 1
        assert 0 <= row["balanced_low"] <= row["balanced_top1"] <= row["balanced_high"] <= 1
        assert row["at_chance"] is False
        assert 0 < row["p50_us"] <= row["p90_us"] <= row["p99_us"]
        assert row["gzip_bytes"] < row["size_bytes"]
        assert row["threads"] == 1
        assert row["cold_start_ms"] > 0
        assert row["error"] is None
        assert np.sum(row["confusion"]) == 359
        assert np.trace(row["confusion"]) == pytest.approx(row["top1"] * 359)
        assert len(row["rounds_p50_us"]) == 5


def test_sparsity_shows_in_gzip(quick_run: Path) -> None:
    rows = {row["artifact"]: row for row in json.loads((quick_run / "bench/bench.json").read_text())["results"]}
    dense, sparse = rows["export/baseline/int8.tflite"], rows["export/pruned80/int8.tflite"]
    assert sparse["size_bytes"] == pytest.approx(dense["size_bytes"], rel=0.05), "zeros are stored all the same"
    assert sparse["gzip_bytes"] < 0.6 * dense["gzip_bytes"]


def test_a_run_killed_three_times_ends_with_the_same_bytes(quick_run: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    """SIGKILL as soon as each of three files appears; compare every model with those of a run that was left alone."""
    root = tmp_path / "run"
    command = [sys.executable, "-m", "edgecnn", "run", "--recipe", "quick", "--out", str(root)]
    for stop in ("train/checkpoint.npz", "compress/pruned80/checkpoint.npz", "export/baseline/float16.tflite"):
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (root / stop).exists():
            assert process.poll() is None, f"ended before {stop}"
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = edgecnn("run", "--recipe", "quick", "--out", root)
    assert done.returncode == 0, done.stderr
    assert models_in(root) == models_in(quick_run)


def test_an_interrupted_run_says_that_it_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgecnn", "train", "--recipe", "quick", "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "train" / "checkpoint.npz").exists():
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted; a run goes on where it was when the same command is given again"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_a_destructor_swallows_is_raised_at_the_next_step() -> None:
    from edgecnn.cli.terminal import progress

    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    with progress() as observe:
        observe("train", 0, 2, {})
        Swallows()
        with pytest.raises(KeyboardInterrupt):
            observe("train", 1, 2, {})


def test_a_teacher_is_trained_first_and_recorded_as_parent(tmp_path: Path) -> None:
    config = taught_config()
    with begin(config, tmp_path / "run") as work:
        path = train(work)
        record = artifact.checked(path)
        assert list(record.parents) == ["../teacher/0/model.keras", "../teacher/1/model.keras"]
        assert record.settings["teacher"]["distillation"] == {"weight": 0.5, "temperature": 2.0}
        assert train(work) == path, "what is complete is not trained again"
        assert work.run.recipes() == ["baseline"]
    assert read_config(Run(tmp_path / "run")).teacher == config.teacher
    assert [problem for _, problem in artifact.verify(tmp_path / "run") if problem] == []
    # Another seed learns from the same teacher, without training it again.
    teacher = Run(tmp_path / "run")
    with begin(replace(config, seed=5), tmp_path / "other", teacher=teacher, observe=no_teaching) as work:
        other = artifact.checked(train(work))
    assert list(other.parents.values()) == list(record.parents.values())
    assert other.sha256 != record.sha256
    assert config.teacher is not None
    elsewhere = replace(config, teacher=replace(config.teacher, views=1))
    with (
        pytest.raises(ConfigError, match=r"--teacher .*run: its teacher are not those of recipe quick on digits"),
        begin(elsewhere, tmp_path / "elsewhere", teacher=teacher),
    ):
        pass
    assert not (tmp_path / "elsewhere").exists()
    with (
        begin(replace(config, recipe="small"), tmp_path / "third", teacher=teacher) as work,
        pytest.raises(ArtifactError, match="made by another teacher or of other images"),
    ):
        lesson = tmp_path / "third" / "teacher" / "lessons" / "00.npz"
        lesson.write_bytes(lesson_bytes(Lesson(np.zeros((1, 1), np.uint8), np.zeros((1, 1), np.float32)), identity="x"))
        train(work)


def taught_config() -> RunConfig:
    """Return a run of one epoch with a teacher of two members, trained for one epoch each."""
    config = configure(data="digits", recipe="quick", epochs=1)
    distillation = Distillation(weight=0.5, temperature=2.0)
    teacher = Teacher(
        arch="edge35k",
        members=2,
        training=config.training,
        views=2,
        augmentation=Augmentation(
            rotate_deg=10.0, scale=0.1, shear=0.1, shift_px=1.0, elastic_px=0.0, elastic_grid=2, graded=True
        ),
        distillation=distillation,
    )
    return replace(config, teacher=teacher)


def no_teaching(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
    assert stage == "train", "the teacher is there, and its lessons"


def test_a_teacher_that_is_not_there_or_not_wanted_is_refused(edgecnn: Edgecnn, tmp_path: Path) -> None:
    for recipe, message in (
        ("quick", "--teacher: recipe quick learns from no teacher; leave it out"),
        ("strong", "no complete teacher there; make one: edgecnn teach --out"),
    ):
        done = edgecnn("train", "--recipe", recipe, "--teacher", tmp_path / "none", "--out", tmp_path / recipe)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / recipe).exists()
    done = edgecnn("teach", "--recipe", "quick", "--out", tmp_path / "q")
    assert (done.returncode, done.stderr) == (
        2,
        "error: teach: recipe quick has no teacher; name one that has: --recipe strong\n",
    )


def test_another_seed_gives_other_bytes(quick_run: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    done = edgecnn("train", "--recipe", "quick", "--seed", "1", "--epochs", "1", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert models_in(tmp_path / "run")["train/model.keras"] != models_in(quick_run)["train/model.keras"]


def test_a_run_of_other_settings_is_refused(copied_run: Path) -> None:
    expected = r"other settings \(training.epochs: 6 there, 3 asked\); choose another --out"
    with pytest.raises(ConfigError, match=expected), begin(configure(recipe="quick", epochs=3), copied_run):
        pass


def test_a_complete_stage_is_not_done_again(copied_run: Path) -> None:
    path = copied_run / "train" / "model.keras"
    before = path.stat().st_mtime_ns
    train(workspace(copied_run))
    assert path.stat().st_mtime_ns == before


def test_a_changed_artifact_stops_the_run(copied_run: Path) -> None:
    path = copied_run / "train" / "model.keras"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ArtifactError, match=r"train/model.keras: sha256 is .*, its record says"):
        train(workspace(copied_run))


def test_a_changed_parent_stops_the_export(copied_run: Path) -> None:
    """A parent replaced together with its record is whole, but no longer the export's parent."""
    pruned, baseline = (copied_run / stage for stage in ("compress/pruned80", "train"))
    for file in ("model.keras", "record.json"):
        shutil.copy(pruned / file, baseline / file)
    with pytest.raises(ArtifactError, match=r"int8.tflite: its parent or data changed"):
        export(workspace(copied_run), recipe="baseline", target=Target("tflite", "int8"))


def test_an_int8_model_that_loses_too_much_is_refused_and_not_written(copied_run: Path) -> None:
    """One black calibration image gives ranges that fit nothing."""
    work = workspace(copied_run)
    black = work.data.train.images * 0
    broken = replace(work, data=replace(work.data, train=replace(work.data.train, images=black)))
    path = copied_run / "export" / "baseline" / "int8.tflite"
    for file in (path, artifact.record_path(path)):
        file.unlink()
    with pytest.raises(
        GateError, match=r"baseline/int8.tflite: top-1 on 287 validation .* it loses .*--max-drop"
    ) as caught:
        export(broken, recipe="baseline", target=Target("tflite", "int8"))
    assert caught.value.exit_code == 1
    assert not path.exists()
    assert not artifact.record_path(path).exists()


def test_a_model_of_the_run_that_reads_at_chance_is_refused(copied_run: Path) -> None:
    work = workspace(copied_run)
    validation = work.data.validation
    shuffled = replace(validation, labels=np.random.default_rng(0).permutation(validation.labels))
    guessing = replace(work, data=replace(work.data, validation=shuffled))
    path = copied_run / "export" / "baseline" / "int8.tflite"
    for file in (path, artifact.record_path(path)):
        file.unlink()
    with pytest.raises(GateError, match=r"of 287 validation images in 10 classes .*chance: train it longer.*--allow"):
        export(guessing, recipe="baseline", target=Target("tflite", "int8"))
    assert not path.exists()
    allowed = replace(work.config, exporting=replace(work.config.exporting, allow_chance=True, max_drop_pp=100))
    export(replace(guessing, config=allowed), recipe="baseline", target=Target("tflite", "int8"))
    assert artifact.checked(path).metrics["allowed_chance"] is True
    assert export(work, recipe="baseline", target=Target("tflite", "int8")) == path, "what was allowed stays so"


def test_a_pruning_that_loses_too_much_is_refused_and_kept_under_a_higher_limit(copied_run: Path) -> None:
    strict = workspace(copied_run)
    strict = replace(strict, config=replace(strict.config, exporting=replace(strict.config.exporting, max_drop_pp=0)))
    with pytest.raises(
        GateError, match=r"pruned99: .* of 287 validation images, parent .*: -.* pp, p .*--max-drop.*; lower --sparsity"
    ):
        prune(strict, sparsity=0.99)
    path = copied_run / "compress" / "pruned99" / "model.keras"
    assert not artifact.record_path(path).exists()
    assert path.with_name("checkpoint.npz").exists(), "what was trained is not lost"

    generous = replace(strict.config, exporting=replace(strict.config.exporting, max_drop_pp=100))
    assert prune(replace(strict, config=generous, observe=trains_nothing), sparsity=0.99) == "pruned99"
    figures = artifact.checked(path).metrics
    assert figures["drop_pp"] > 0
    assert 0 <= figures["mcnemar_p"] <= 1
    assert figures["parent_validation_top1"] - figures["validation_top1"] == pytest.approx(figures["drop_pp"] / 100)
    with pytest.raises(GateError, match=r"pruned99: .*allowed to lose are 0 pp"):
        prune(strict, sparsity=0.99)


def trains_nothing(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
    assert done == total, "all epochs are in the checkpoint"


def test_a_model_trained_for_int8_has_its_ranges_whatever_the_calibration(copied_run: Path) -> None:
    work = workspace(copied_run)
    otherwise = replace(work.config, exporting=replace(work.config.exporting, calibration="mse"))
    path = copied_run / "export" / "pruned80-qat" / "int8.tflite"
    before = path.read_bytes()
    assert export(replace(work, config=otherwise), recipe="pruned80-qat", target=Target("tflite", "int8")) == path
    assert path.read_bytes() == before


def test_a_stricter_gate_refuses_what_is_there(copied_run: Path, edgecnn: Edgecnn) -> None:
    record = artifact.record_path(copied_run / "export/baseline/int8.tflite")
    values = json.loads(record.read_text())
    values["metrics"]["drop_pp"] = 0.4
    record.write_text(json.dumps(values))
    assert edgecnn("export", copied_run).returncode == 0
    refused = edgecnn("export", copied_run, "--max-drop", "0.3")
    assert refused.returncode == 1
    assert "it loses 0.40 pp, allowed are 0.3" in refused.stderr


@pytest.mark.parametrize(
    ("form", "scheme", "message"),
    [
        ("coreml", "int8", "format: 'coreml' is unknown; expected one of: bundle, c, onnx, pyz, tflite"),
        (
            "tflite",
            "int4",
            "scheme for tflite: 'int4' is unknown; expected one of: dynamic, float16, float32, int16x8, int8",
        ),
        ("onnx", "float16", "scheme for onnx: 'float16' is unknown; expected one of: float32, int8"),
    ],
)
def test_an_unknown_target_lists_the_known(form: str, scheme: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Target(form, scheme)


def test_single_stages_are_commands(edgecnn: Edgecnn, tmp_path: Path) -> None:
    def last_line(*arguments: object) -> Path:
        done = edgecnn(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return tmp_path / done.stdout.strip().splitlines()[-1]

    root = tmp_path / "runs" / "mine"
    assert last_line("train", "--recipe", "quick", "--epochs", "1", "--out", root) == root / "train" / "model.keras"
    assert last_line("prune", "--sparsity", "0.5") == root / "compress" / "pruned50" / "model.keras"
    assert artifact.checked(root / "compress/pruned50/model.keras").nonzero_parameters < 0.52 * 35_030
    # Not judged by its accuracy here: one epoch does not make a model worth gating.
    qat = last_line("quantize", "--method", "qat", "--recipe", "pruned50", "--max-drop", "100")
    assert qat == root / "export" / "pruned50-qat" / "int8.tflite"
    assert last_line("export", root, "--format", "onnx", "--scheme", "float32", "--dynamic-batch").name == (
        "float32-batchN.onnx"
    )
    assert "pruned50-qat" in edgecnn("bench", root).stdout


def shortened(work: Workspace) -> Workspace:
    """Return `work` with stages of two short epochs, and whatever accuracy they give accepted."""
    short = Training(epochs=2, batch_size=256, learning_rate=1e-4, patience=0)
    config = replace(
        work.config,
        pruning=replace(work.config.pruning, training=short, ramp_epochs=1),
        clustering=replace(work.config.clustering, training=short),
        qat=short,
        exporting=replace(work.config.exporting, max_drop_pp=100, calibration_images=20),
    )
    return replace(work, config=config)


def test_every_way_to_compress_is_a_recipe_that_exports(copied_run: Path) -> None:
    """Two epochs each: the names, the records and the files, not the accuracy."""
    work = shortened(workspace(copied_run))
    made = [
        prune(work, method="global", sparsity=0.9),
        prune(work, method="2:4"),
        prune(work, method="block", rounds=2),
        prune(work, method="structured", sparsity=0.5),
        prune(work, "structured50", sparsity=0.6),
        cluster(work),
        cluster(work, "pruned80", clusters=8),
        train_quantized(work, "pruned80-clustered8"),
    ]
    assert made == [
        "global90", "sparse2of4", "block80x2", "structured50", "structured50-pruned60", "clustered16",
        "pruned80-clustered8", "pruned80-clustered8-qat",
    ]  # fmt: skip
    assert not list(copied_run.rglob("checkpoint*.npz"))
    records = {recipe: artifact.checked(work.run.model(recipe)) for recipe in made}
    assert records["global90"].nonzero_parameters < 0.12 * 35_030
    assert records["structured50"].parameters == 9_712
    assert records["structured50-pruned60"].nonzero_parameters < 0.42 * 9_712
    assert "../structured50/model.keras" in records["structured50-pruned60"].parents
    assert records["block80x2"].settings["pruning"]["rounds"] == 2
    small = export(work, recipe="structured50", target=Target("onnx", "float32"))
    assert small.stat().st_size < 0.4 * (copied_run / "export/baseline/float32.onnx").stat().st_size
    content = export(work, recipe="pruned80-clustered8-qat", target=Target("tflite", "int8")).read_bytes()
    for kernel in stored_kernels(content):
        assert len(np.unique(kernel)) <= 8
        assert np.mean(kernel == 0) > 0.79
    again = work.run.model("structured50").stat().st_mtime_ns
    assert prune(work, method="structured", sparsity=0.5) == "structured50"
    assert work.run.model("structured50").stat().st_mtime_ns == again, "a complete stage is not done again"


def test_a_pruning_that_is_killed_in_its_second_round_ends_with_the_same_bytes(quick_run: Path, tmp_path: Path) -> None:
    class Killed(Exception):
        pass

    def kill_in_second_round(stage: str, done: int, total: int, metrics: dict[str, float]) -> None:
        if next(iter(root.rglob("checkpoint2.npz")), None) is not None:
            raise Killed

    models = []
    for root, observers in ((tmp_path / "whole", []), (tmp_path / "killed", [kill_in_second_round])):
        shutil.copytree(quick_run, root)
        work = shortened(workspace(root))
        for observe in observers:
            with pytest.raises(Killed):
                prune(replace(work, observe=observe), sparsity=0.9, rounds=2)
            assert (root / "compress" / "pruned90x2" / "checkpoint.npz").exists(), "the first round is not lost"
        models.append(work.run.model(prune(work, sparsity=0.9, rounds=2)).read_bytes())
    assert models[0] == models[1]


def test_compressing_what_is_compressed_is_refused_where_it_would_undo_it(copied_run: Path) -> None:
    work = workspace(copied_run)
    with pytest.raises(ConfigError, match=r"^prune: pruned80 is pruned already; name its parent with --recipe$"):
        prune(work, "pruned80", sparsity=0.5)
    with pytest.raises(ConfigError, match=r"^cluster: pruned80-qat is trained for int8 already; name its float parent"):
        cluster(work, "pruned80-qat")
    assert Run(copied_run).recipes() == ["baseline", "pruned80", "pruned80-qat"]


def test_what_cannot_be_compressed_is_one_line(copied_run: Path, edgecnn: Edgecnn) -> None:
    for arguments, message in (
        (("prune", "--method", "2:4", "--sparsity", "0.8"), "2:4 with sparsity 0.8 in 1 rounds; expected 0.5"),
        (("prune", "--method", "structured", "--sparsity", "0.99"), "conv1 would keep 0 of its 32 filters or units"),
        (("cluster", "--clusters", "1"), "clusters: 1; expected 2 to 255"),
        (("cluster", "--recipe", "pruned9"), "recipe: 'pruned9' is unknown; expected one of: baseline, pruned80,"),
    ):
        done = edgecnn(arguments[0], copied_run, *arguments[1:])
        assert (done.returncode, done.stderr.count("error:")) == (2, 1), done.stderr
        assert message in done.stderr.splitlines()[-1]
    assert Run(copied_run).recipes() == ["baseline", "pruned80", "pruned80-qat"]


def test_an_export_calibrated_otherwise_is_made_again(copied_run: Path, edgecnn: Edgecnn) -> None:
    """The gate's advice, more --calibration-images, must not leave a run that cannot go on."""
    path, before = copied_run / "export/baseline/int8.tflite", models_in(copied_run)
    assert edgecnn("export", copied_run, "--calibration-images", "50").returncode == 0
    assert artifact.checked(path).settings["calibration_images"] == 50
    again = edgecnn("run", "--recipe", "quick", "--out", copied_run)
    assert again.returncode == 0, again.stderr
    assert models_in(copied_run) == before


def test_a_quantized_recipe_is_not_quantized_again(copied_run: Path, edgecnn: Edgecnn) -> None:
    refused = edgecnn("quantize", copied_run, "--method", "qat", "--recipe", "pruned80-qat")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "pruned80-qat is trained for int8 already" in refused.stderr
    for form in ("onnx", "tflite"):
        refused = edgecnn("export", copied_run, "--recipe", "pruned80-qat", "--format", form, "--scheme", "float32")
        assert refused.returncode == 2
        assert "the model was trained for int8" in refused.stderr
    for options in (("--keep-float", "auto"), ("--keep-float", "conv1"), ("--bias-correction",), ("--per-tensor",)):
        refused = edgecnn("export", copied_run, "--recipe", "pruned80-qat", *options)
        assert (refused.returncode, refused.stderr.count("error: ")) == (2, 1)
        assert f"{options[0]} does not apply to a model that was trained for int8" in refused.stderr


def test_a_release_stands_alone_and_is_of_what_was_measured(copied_run: Path, edgecnn: Edgecnn, tmp_path: Path) -> None:
    out = tmp_path / "models"
    done = edgecnn("release", copied_run, "--name", "mine", "--out", out)
    assert done.stdout.strip() == str(out / "mine")
    assert [problem for _, problem in artifact.verify(out) if problem] == []
    model = artifact.checked(out / "mine" / "model.keras")
    assert artifact.checked(out / "mine" / "int8.onnx").parents == {"model.keras": model.sha256}
    card = (out / "mine" / "MODEL_CARD.md").read_text()
    assert "edgecnn run --data digits --arch edge35k --recipe quick --seed 0 --out runs/mine\n" in card
    assert model.sha256 in card

    bench = copied_run / "bench" / "bench.json"
    stale = bench.read_text().replace(artifact.checked(copied_run / "export/baseline/int8.onnx").sha256, "0" * 64)
    for content, message in ((stale, "int8.onnx not measured as it is now"), ("[]", "no measurements there")):
        bench.write_text(content)
        refused = edgecnn("release", copied_run, "--name", "other", "--out", out)
        assert refused.returncode == 2
        assert message in refused.stderr
        assert not (out / "other").exists()


def test_a_release_of_a_model_trained_for_int8_keeps_its_float_parent(copied_run: Path, tmp_path: Path) -> None:
    root = copied_run
    folder = release(Run(root), name="sparse", recipe="pruned80-qat", out=tmp_path)
    findings = {path.name: problem for path, problem in artifact.verify(folder)}
    assert findings == dict.fromkeys(("model.keras", "qat.h5", *FILES))
    records = {file: artifact.checked(folder / file) for file in findings}
    sources = {
        "model.keras": root / "compress/pruned80/model.keras",
        "qat.h5": root / "compress/pruned80-qat/model.h5",
        "float32.tflite": root / "export/pruned80/float32.tflite",
        "int8.onnx": root / "export/pruned80-qat/int8.onnx",
    }
    assert {file: records[file].sha256 for file in sources} == {
        file: artifact.checked(source).sha256 for file, source in sources.items()
    }
    parents = {file: list(record.parents) for file, record in records.items()}
    of_float, of_int8 = ["model.keras"], ["qat.h5"]
    assert parents == {
        "model.keras": [], "qat.h5": of_float, "float32.tflite": of_float, "float32.onnx": of_float,
        "int8.tflite": of_int8, "int8.onnx": of_int8,
    }  # fmt: skip
    rows = {row["artifact"]: row for row in json.loads((folder / "bench.json").read_text())["results"]}
    assert {row["artifact"]: row["recipe"] for row in rows.values()} == {
        file: "pruned80-qat" if "int8" in file else "pruned80" for file in FILES
    }

    card = (folder / "MODEL_CARD.md").read_text()
    steps = card.split("## How it was made")[1].split("## Make it again")[0].strip().splitlines()[2:]
    assert [step.split(" | ")[0] for step in steps] == ["| train", "| prune", "| train for int8"]
    assert " | `edge35k`; Adam 0.002, batch 32, 6 epochs | 6 of 6 | " in steps[0]
    assert " | to 80 % of each kernel's weights, by magnitude; over 2 epochs, every 10 steps; Adam 0.001," in steps[1]
    assert f"{records['model.keras'].nonzero_parameters:,} not zero" in card
    assert f"sparse_bytes of `int8.tflite` | {rows['int8.tflite']['sparse_bytes']:,}" in card
    assert "ranges of `int8.tflite` | those that training for int8 arrived at" in card
    assert "ranges of `int8.onnx` | set by 500 training images" in card
    assert "the baseline, export/baseline/float32.onnx, is that of the run" in card


def test_a_card_names_every_command_and_the_seeds(copied_run: Path, tmp_path: Path) -> None:
    """Of a recipe that `edgecnn run` does not make; the figures here are another file's."""
    work = shortened(workspace(copied_run))
    recipe = prune(work, method="structured", sparsity=0.5)
    for form in ("tflite", "onnx"):
        for scheme in ("float32", "int8"):
            export(work, recipe=recipe, target=Target(form, scheme, per_tensor=scheme == "int8"))
    exports = copied_run / "export" / recipe
    rows = [
        {
            **json.loads((copied_run / "bench/bench.json").read_text())["results"][0],
            "artifact": f"export/{recipe}/{file}",
            "sha256": artifact.checked(exports / file).sha256,
        }
        for file in FILES
    ]
    bench = json.loads((copied_run / "bench/bench.json").read_text()) | {"results": rows}
    (copied_run / "bench/bench.json").write_text(json.dumps(bench))
    figures = {"float32_top1": 0.97, "int8_top1": 0.96, "validation_top1": 0.98}
    seeds = {"recipe": "quick", "data": "digits", "images": 359, "rows": [{"seed": n, **figures} for n in range(2)]}
    (tmp_path / "seeds.json").write_text(json.dumps(seeds))
    folder = release(Run(copied_run), name="small", recipe=recipe, out=tmp_path, seeds=tmp_path / "seeds.json")
    card = (folder / "MODEL_CARD.md").read_text()
    for command in (
        "edgecnn train --data digits --arch edge35k --recipe quick --seed 0 --out runs/small",
        "edgecnn prune runs/small --method structured --sparsity 0.5",
        "edgecnn export runs/small --recipe structured50 --format onnx --scheme int8 "
        "--calibration-images 20 --per-tensor",
        "edgecnn bench runs/small",
        "edgecnn release runs/small --name small --recipe structured50",
    ):
        assert f"    {command}\n" in card
    assert "scales of `int8.tflite` | one a kernel" in card
    assert "9,712 parameters, by structured pruning" in card
    assert "| mean | 98.000 | 97.000 | 96.000 |" in card

    (tmp_path / "seeds.json").write_text(json.dumps(seeds | {"recipe": "strong"}))
    with pytest.raises(ConfigError, match="of recipe strong on digits; expected those of the run, quick on digits"):
        release(Run(copied_run), name="other", recipe=recipe, out=tmp_path, seeds=tmp_path / "seeds.json")
    assert not (tmp_path / "other").exists()


def test_the_command_on_a_card_makes_the_same_run() -> None:
    config = configure(data="mnist", recipe="seed", epochs=3, sparsity=0.9, seed=4, calibration_images=77)
    names, flags = "--data mnist --arch edge35k --recipe seed --seed 4", "--epochs 3 --sparsity 0.9"
    assert command_of(config) == f"edgecnn run {names} {flags} --calibration-images 77"
    paged = configure(data="mnist", arch="kernel2", recipe="page", pages=zoo.pages_of("kernel2"))
    assert command_of(paged) == "edgecnn run --data mnist --arch kernel2 --recipe page --seed 0"
