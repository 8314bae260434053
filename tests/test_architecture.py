"""The house rules of the packages: who may import whom, and what stays out of a light command."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "edgecnn"
STAGES = ("data", "zoo", "train", "compress", "export", "native", "bench", "report")
ALLOWED = {
    # room: the other rooms of edgecnn it may import; stages are siblings that never import each other
    "__init__": {"config", "pipeline", "device"},
    "__main__": {"cli"},
    "cli": None,  # anything
    "pipeline": None,
    # Composes the pipeline, which knows nothing of it; workers are told what they need and import as little.
    "search": {"artifact", "bench", "config", "errors", "extras", "pipeline", "report"},
    "config": {"errors"},
    "errors": set(),
    "extras": {"errors"},
    "artifact": {"errors", "device"},
    "archives": {"device"},
    "curves": set(),
    "_tf": {"errors", "device"},
    "data": {"errors", "config", "artifact", "device"},
    "zoo": {"config", "errors", "_tf"},
    "train": {"_tf", "artifact", "config", "curves", "errors"},
    "compress": {"_tf", "config", "errors"},
    "export": {"_tf", "archives", "config", "device", "errors", "inspect"},
    "native": {"archives", "device", "errors"},
    "boards": {"archives", "artifact", "device", "errors"},
    "bench": {"device"},
    "inspect": {"_tf", "artifact", "device", "errors", "extras"},
    "report": {"artifact"},
    "device": set(),
}
FOR_ALL = ("edgecnn.device.contract.", "edgecnn.device.errors.")  # what a network takes is every room's to know
STDLIB_ONLY = ("__init__", "__main__", "config", "errors", "extras", "artifact", "archives", "curves")
CONFIG = ("names", "settings", "recipes", "__init__", "dicts", "toml")  # each imports only those before it


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module that a file imports, inside functions too; `if TYPE_CHECKING:` blocks are left out."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_it_may(path: Path) -> None:
    room = room_of(path)
    asked = {name for name in imports(path) if name.startswith("edgecnn.") and not name.startswith(FOR_ALL)}
    own = {name.split(".")[1] for name in asked} - {room, "__version__"}
    assert room in ALLOWED, f"{room} is a new room: add it to ALLOWED with what it may import"
    if (allowed := ALLOWED[room]) is not None:
        assert own <= allowed, f"{path} imports {sorted(own - allowed)}"


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_each_other(stage: str) -> None:
    assert not (ALLOWED[stage] & set(STAGES))


def test_only_the_command_line_knows_of_the_search() -> None:
    for path in modules():
        if room_of(path) not in ("cli", "search"):
            assert not {name for name in imports(path) if name.startswith("edgecnn.search")}, path


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_tensorflow_comes_through_one_door(path: Path) -> None:
    heavy = {"tensorflow", "tf_keras", "keras", "tensorflow_model_optimization"}
    if room_of(path) != "_tf":
        assert not {name.split(".")[0] for name in imports(path)} & heavy


@pytest.mark.parametrize("room", STDLIB_ONLY)
def test_light_rooms_use_the_standard_library_only(room: str) -> None:
    of_room = [path for path in modules() if room_of(path) == room]
    assert of_room
    for path in of_room:
        third_party = {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names)
        assert third_party <= {"edgecnn"}, path


def test_modules_of_config_import_only_those_before_them() -> None:
    assert sorted(CONFIG) == sorted(path.stem for path in modules() if room_of(path) == "config")
    for place, name in enumerate(CONFIG):
        inside = [one.split(".")[2] for one in imports(PACKAGE / "config" / f"{name}.py") if ".config." in one]
        assert {one if one in CONFIG else "__init__" for one in inside} <= set(CONFIG[:place]), name


def test_only_the_command_line_prints_or_exits() -> None:
    own_processes = (
        "__main__.py",
        "command_line.py",
        "loader.py",
        "worker.py",
        "board.py",
        "healthy.py",
    )  # these answer by printing
    for path in modules():
        if room_of(path) == "cli" or path.name in own_processes:
            continue
        names = {
            n.func.id
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)
        }
        assert not names & {"print", "exit"}, path


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import edgecnn", {"tensorflow", "numpy", "PIL", "typer"}),
        ("import edgecnn.config.toml", {"tensorflow", "numpy", "typer"}),
        ("import edgecnn.device; edgecnn.device.Predictor", {"tensorflow", "onnx", "typer", "rich", "sklearn"}),
        (
            "import sys; sys.argv[1:] = ['--help']; from edgecnn import cli; cli.main()",
            {"tensorflow", "numpy", "rich", "edgecnn.cli.choose", "edgecnn.pipeline", "edgecnn.zoo"},
        ),
        ("import edgecnn.pipeline", {"tensorflow", "onnx", "numpy"}),
        ("import edgecnn.cli.search", {"tensorflow", "numpy", "optuna", "distributed", "rich"}),
        ("import edgecnn.search.driver", {"tensorflow", "numpy", "optuna", "distributed", "sqlalchemy"}),
    ],
)  # fmt: skip
def test_light_imports_stay_light(code: str, absent: set[str]) -> None:
    report = "import atexit, sys; atexit.register(lambda: print('LOADED', *sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", f"{report}\n{code}"], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rsplit("LOADED", 1)[1].split())
    assert not loaded & absent
