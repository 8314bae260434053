"""The pages say what the code does: their blocks run, their tables are those of the code."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgecnn.cli import app
from tests.conftest import RELEASED, ROOT

README = (ROOT / "README.md").read_text()
PAGES = [pytest.param(ROOT / page, id=page) for page in ("README.md", "deploy/README.md")]
# What a test cannot do: install, build, train for minutes.
NOT_RUN = ("make ", "pip ", "edgecnn run --data mnist", "edgecnn bench")

needs_released = pytest.mark.skipif(not RELEASED.is_dir(), reason="models/edge35k is not released yet")


def blocks(language: str, page: Path) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def shell_lines(page: Path) -> list[str]:
    lines = [line.split("#")[0].strip() for block in blocks("sh", page) for line in block.splitlines()]
    return [line for line in lines if line]


@needs_released
@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_run_in_order(page: Path, tmp_path: Path) -> None:
    for name in ("models", "deploy"):
        shutil.copytree(ROOT / name, tmp_path / name)
    ran = 0
    for line in shell_lines(page):
        if line.startswith(NOT_RUN):
            continue
        words = [word for part in shlex.split(line) for word in expanded(part, tmp_path)]
        start = {"edgecnn": [sys.executable, "-m", "edgecnn"], "python3": [sys.executable]}.get(words[0], words[:1])
        done = subprocess.run([*start, *words[1:]], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
        ran += 1
    assert ran >= 5


def expanded(word: str, folder: Path) -> list[str]:
    found = sorted(str(path.relative_to(folder)) for path in folder.glob(word)) if "*" in word else []
    return found or [word]


@needs_released
def test_python_blocks_run() -> None:
    found = [blocks("python", page) for page in (ROOT / "README.md", ROOT / "edgecnn" / "API.md")]
    assert all(found)
    for block in (block for of_page in found for block in of_page):
        subprocess.run([sys.executable, "-c", block], cwd=ROOT, check=True, capture_output=True)


def test_the_page_of_the_api_has_all_that_is_exported() -> None:
    page = (ROOT / "edgecnn" / "API.md").read_text()
    for place in ("edgecnn", "edgecnn.device", "edgecnn.errors"):
        module = importlib.import_module(place)
        for name in module.__all__:
            assert getattr(module, name) is not None
            is_there = f"### {name}\n" in page or f"`{place}.{name}`" in page
            assert is_there or name == "__version__", f"{place}.{name}: exported, and not on the page"


@pytest.mark.parametrize("page", PAGES)
def test_commands_named_in_a_page_exist(page: Path) -> None:
    commands = {c.callback.__name__ for c in app.registered_commands if c.callback}
    commands |= {group.name for group in app.registered_groups}
    named = {line.split()[1] for line in shell_lines(page) if line.startswith("edgecnn ")}
    assert named
    assert named <= commands


def test_targets_named_in_readme_exist() -> None:
    rules = re.findall(r"^([\w -]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    targets = {target for rule in rules for target in rule.split()}
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


def test_generated_parts_are_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.readme", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_part_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import readme

    stale = tmp_path / "README.md"
    stale.write_text(README.replace("`edgecnn verify`", "`edgecnn check`"))
    monkeypatch.setattr(readme, "ROOT", tmp_path)
    monkeypatch.setattr(readme, "PARTS", {stale: readme.PARTS[readme.README]})
    assert readme.main(["--check"]) == 1
    assert readme.main([]) == 0
    assert stale.read_text() == README


def test_ci_calls_what_readme_names() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    positions = [script.index(f"\nmake {target}\n") for target in ("demo", "test", "check")]
    assert positions == sorted(positions)


def test_lock_has_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?://|--index|--find-links|file:", lock)
    requirements = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert all(line.endswith("\\") for line in requirements), "every requirement is followed by its hashes"


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted(ROOT.glob("deploy/*.md")), ROOT / "benchmarks/README.md", ROOT / "edgecnn/API.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", page.read_text())
    for path, anchor in links:
        target = (page.parent / path) if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in headings(target), f"{path}#{anchor}"


def headings(page: Path) -> set[str]:
    """Return the anchors of a page, made of its headings as GitHub does."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
