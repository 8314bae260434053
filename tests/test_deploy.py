"""Deployments to a real sshd, as an unprivileged user; with a service, to a machine of its own under systemd."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks import deployments
from benchmarks import emulated_pi as pi
from benchmarks.board import NO_BOARD, NO_MACHINE, Board, NoMachineError, board, free_port, machine
from benchmarks.deployments import Deploy, Scene, bundles
from edgecnn import cli
from edgecnn.boards import fleet
from edgecnn.boards.look import machine_of
from edgecnn.boards.ssh import parsed
from edgecnn.errors import BoardError, ConfigError
from edgecnn.pipeline.deploying import requirements_for
from tests.conftest import ROOT, Edgecnn

needs_board = pytest.mark.skipif(bool(NO_BOARD), reason=NO_BOARD)
needs_machine = pytest.mark.skipif(bool(NO_MACHINE), reason=NO_MACHINE)
needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="no compiler; run: make machines (as root)")


# What a small system has: what the scripts on the board take, and nothing else.
TOOLS = (
    *(
        "sh",
        "uname",
        "od",
        "tr",
        "cut",
        "getconf",
        "id",
        "stat",
        "dirname",
        "basename",
        "readlink",
        "sed",
        "tar",
        "mkdir",
    ),
    *("sha256sum", "flock", "rm", "mv", "ln", "sync", "timeout", "head", "tail", "cat", "ldd", "mktemp"),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the bundles of two models that run by Python; read them, never write to them."""
    return bundles(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a board with a version of a model in C, which needs no packages."""
    folder = tmp_path_factory.mktemp("deploy")
    with board() as found:
        made = Scene(found, folder, bundles(folder, target="native", models=["edge1k"]))
        first = made.deploy(made.fresh())
        assert first.returncode == 0, first.stderr
        yield made


Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Return a function that runs the command line in this process: its exit code, and what it said on stderr."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["edgecnn", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().err

    return run


def refused(done: Deploy, *words: str, code: int = 2) -> None:
    """Check that a deployment was refused by one clear line."""
    assert done.returncode == code, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert all(word in errors[0] for word in words), errors[0]
    assert "Traceback" not in done.stderr


@needs_board
@needs_compiler
class TestBoard:
    def test_the_current_version_predicts_without_packages(self, scene: Scene) -> None:
        done = scene.board.run("edgecnn/current/run edgecnn/current/selftest.raw")
        assert done.stdout.split(b"\t")[1] == b"7", done.stderr

    def test_the_last_two_versions_are_kept_and_rollback_takes_the_other(self, scene: Scene) -> None:
        versions = [scene.deploy(scene.fresh()).stdout.strip() for _ in range(3)]
        assert scene.board.current() == versions[2]
        kept = {path.name for path in (scene.board.root / "versions").iterdir()}
        assert kept == set(versions[1:])
        command = [*scene.command(Path("x")), "--rollback"]
        done = subprocess.run([word for word in command if word != "x"], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == versions[1] == scene.board.current(), done.stderr
        assert not scene.serves(versions[1])

    def test_what_is_current_already_is_not_sent_again(self, scene: Scene) -> None:
        bundle = scene.fresh()
        assert "sending version" in scene.deploy(bundle).stderr
        again = scene.deploy(bundle)
        assert again.returncode == 0
        assert "sending" not in again.stderr

    def test_a_damaged_version_is_replaced(self, scene: Scene) -> None:
        bundle = scene.fresh()
        version = scene.deploy(bundle).stdout.strip()
        with (scene.board.root / "current" / "predict").open("r+b") as program:
            program.truncate(1000)
        assert scene.serves(version)
        assert scene.deploy(bundle).stdout.strip() == version
        assert not scene.serves(version)

    def test_an_archive_and_a_folder_are_the_same_version(self, scene: Scene, tmp_path: Path) -> None:
        folder = scene.fresh()
        with tarfile.open(tmp_path / "board.tar.gz", "w:gz") as tar:
            tar.add(folder, "board")
        assert scene.deploy(folder).stdout == scene.deploy(tmp_path / "board.tar.gz").stdout

    def test_a_look_says_what_is_there_and_changes_nothing(self, scene: Scene) -> None:
        before = scene.board.current()
        command = [word for word in scene.command(Path("x")) if word != "x"]
        done = subprocess.run([*command, "--look"], capture_output=True, text=True, check=True)
        assert str(before) in done.stdout
        assert "Python" in done.stdout
        assert scene.board.current() == before

    @pytest.mark.parametrize(
        "fault",
        [
            deployments.copy_cut,
            deployments.connection_dropped_in_copy,
            deployments.driver_killed_in_copy,
            deployments.expected_scores_differ,
        ],
        ids=lambda fault: fault.__name__,
    )
    def test_the_old_version_serves_after(self, scene: Scene, fault: Callable[[Scene], Deploy]) -> None:
        seen = deployments.broken(scene, fault)
        assert seen["old_serves"], seen
        assert seen["next_succeeds"], seen

    def test_two_at_once_are_told(self, scene: Scene) -> None:
        before = scene.board.current()
        (scene.board.root / ".lock").touch()
        lock = subprocess.Popen(["flock", "--no-fork", scene.board.root / ".lock", "sleep", "30"])
        try:
            refused(scene.deploy(scene.fresh()), "another deployment")
        finally:
            lock.kill()
            lock.wait()
        assert scene.board.current() == before


@needs_board
@needs_compiler
class TestBadInput:
    def test_a_host_that_does_not_answer(self, scene: Scene) -> None:
        address = f"{scene.board.user}@127.0.0.1:{free_port()}"
        refused(scene.deploy(scene.fresh(), address=address), "no ssh server answers")

    def test_a_host_that_is_not_known(self, scene: Scene) -> None:
        refused(scene.deploy(scene.fresh(), address="pi@no-such-board.invalid"), "no such host")

    def test_a_key_that_changed_is_not_accepted(self, scene: Scene, tmp_path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
        key = " ".join((tmp_path / "other.pub").read_text().split()[:2])
        known = tmp_path / "known"
        known.write_text(f"board {key}\n")
        # Even where the user's options would accept it.
        options = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=no"]
        done = scene.deploy(scene.fresh(), *(word for option in options for word in ("--ssh-option", option)))
        refused(done, "its key is not the one that is known", "ssh-keygen -R")
        assert known.read_text() == f"board {key}\n"

    def test_a_key_that_is_not_known_is_not_accepted(self, scene: Scene, tmp_path: Path) -> None:
        done = scene.deploy(scene.fresh(), "--ssh-option", f"UserKnownHostsFile={tmp_path / 'none'}")
        refused(done, "not accepted unseen", "fingerprint")
        assert not (tmp_path / "none").exists()

    def test_no_key_is_taken(self, scene: Scene, tmp_path: Path) -> None:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
        config = tmp_path / "config"
        config.write_text(
            scene.board.config.read_text().replace(str(scene.board.config.with_name("user")), f"{tmp_path}/key")
        )
        refused(scene.deploy(scene.fresh(), "-F", str(config)), "ssh-copy-id")

    def test_no_python_there_offers_c(self, scene: Scene, pair: tuple[Path, Path], edgecnn: Edgecnn) -> None:
        with board(tools=TOOLS) as bare:
            refused(edgecnn("deploy", pair[0], bare.address, *bare.options), "Python there: none", "--runtime c")
            without = Scene(bare, scene.folder / "bare", scene.bundles)
            done = without.deploy(without.fresh())
            assert done.returncode == 0, done.stderr
            assert not without.serves(done.stdout.strip())

    def test_a_bundle_for_another_machine(self, scene: Scene) -> None:
        def edit(folder: Path) -> None:
            for name in ("predict", "libmodel.so"):
                content = bytearray((folder / name).read_bytes())
                content[18:20] = (183).to_bytes(2, "little")  # e_machine: AArch64
                (folder / name).write_bytes(content)

        refused(scene.deploy(scene.fresh(edit)), "is for aarch64", "for x86_64")

    def test_no_space_says_what_is_needed_and_free(self, scene: Scene) -> None:
        small = scene.board.home / "small"
        small.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=777", "tmpfs", small], check=False)
        if mounted.returncode != 0:
            pytest.skip("a small disk cannot be mounted here")
        try:
            refused(scene.deploy(scene.fresh(), "--root", "~/small/edgecnn"), "needs 1", "4 MB are free")
        finally:
            subprocess.run(["umount", small], check=True)

    def test_a_folder_that_cannot_be_written(self, scene: Scene) -> None:
        if os.geteuid() != 0:
            pytest.skip("the board's user is this one")
        refused(scene.deploy(scene.fresh(), "--root", "/etc/edgecnn"), "/etc cannot be written to", "--root")

    def test_a_service_without_systemd(self, scene: Scene) -> None:
        refused(scene.deploy(scene.fresh(), "--service"), "no systemd")

    def test_a_bundle_that_was_changed(self, scene: Scene) -> None:
        bundle = scene.fresh()
        (bundle / "README.md").write_text("other")
        refused(scene.deploy(bundle), "README.md is not what SHA256SUMS says")

    def test_a_wheelhouse_without_the_packages(
        self, scene: Scene, pair: tuple[Path, Path], edgecnn: Edgecnn, tmp_path: Path
    ) -> None:
        at = [scene.board.address, *scene.board.options]
        done = edgecnn("deploy", pair[0], *at, "--wheelhouse", tmp_path, XDG_CACHE_HOME=str(tmp_path))
        refused(done, "no wheels of numpy", "--runtime c")


@needs_board
@pytest.mark.skipif(bool(pi.LACKS), reason=" and ".join(pi.LACKS))
@pytest.mark.skipif(shutil.which("aarch64-linux-gnu-gcc") is None, reason="no aarch64 compiler; run: make machines")
def test_a_raspberry_pi_gets_what_is_made_for_it(edgecnn: Edgecnn) -> None:
    """Behind the sshd is the emulated Pi: its sh, its tar and its programs run what is sent."""
    with board() as found, pi.behind(found):
        at = [found.address, *found.options, "--root", "/board/edgecnn"]
        look = edgecnn("deploy", "--look", *at)
        assert "Raspberry Pi 4 Model B Rev 1.1, aarch64, glibc 2.36, Python 3.11" in look.stdout, look.stderr
        done = edgecnn("deploy", "edge1k", "--runtime", "c", *at)
        assert done.returncode == 0, done.stderr
        said = found.run("/board/edgecnn/current/run /board/edgecnn/current/selftest.raw").stdout
        assert said.split(b"\t")[1] == b"7"


@pytest.fixture(scope="module")
def packed(edgecnn: Edgecnn) -> Iterator[Board]:
    """Return a board with a model, and the packages that were fetched for its Python."""
    with board() as found:
        done = edgecnn("deploy", "edge4k", found.address, *found.options)
        if "no wheels of" in done.stderr:
            pytest.skip("no packages can be fetched here")
        assert done.returncode == 0, done.stderr
        yield found


@needs_board
class TestPackages:
    def test_they_come_along_and_nothing_else_is_used(self, packed: Board) -> None:
        done = packed.run("edgecnn/current/run --json edgecnn/current/selftest.png")
        assert json.loads(done.stdout)["runtime"] == "litert", done.stderr
        seen = packed.run('edgecnn/current/run --python -c "import numpy; print(numpy.__file__)"').stdout.decode()
        assert seen.startswith(str(packed.root))

    def test_a_board_is_measured_with_what_was_deployed(self, packed: Board, edgecnn: Edgecnn, tmp_path: Path) -> None:
        model, out = ROOT / "models" / "edge1k" / "int8.tflite", tmp_path / "bench.json"
        at = ["--device", f"ssh://{packed.address}", *packed.options]
        done = edgecnn("bench", model, *at, "--quick", "--rounds", "1", "--json", out, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        result = json.loads(out.read_text())
        assert result["conditions"]["device"] == packed.address
        assert set(result["conditions"]) >= {"governor", "throttled", "temperature_c", "busy_cores_meanwhile"}
        assert "tensorflow" not in result["conditions"]["versions"]
        row = result["results"][0]
        assert row["runtime"] == "litert"
        assert min(row["p50_us"], row["cold_start_ms"], row["peak_rss_bytes"], row["runtime_installed_bytes"]) > 0
        assert not list(packed.root.glob(".bench*"))

    def test_a_runtime_that_is_not_there_is_told(self, packed: Board, edgecnn: Edgecnn) -> None:
        at = ["--device", f"ssh://{packed.address}", *packed.options]
        done = edgecnn("bench", "edge1k", *at, "--runtime", "ort")
        refused(done, "runtime ort: not on the device, which has litert")


@needs_board
@needs_compiler
def test_a_board_without_a_deployment_is_not_measured(scene: Scene, edgecnn: Edgecnn) -> None:
    at = ["--device", f"ssh://{scene.board.address}", *scene.board.options]
    done = edgecnn("bench", "edge1k", *at, "--root", "~/nothing")
    refused(done, "nothing is deployed", "edgecnn deploy")


@pytest.mark.parametrize(
    ("options", "message"),
    [(("--device", "board"), "ssh://USER@HOST"), (("--ssh-option", "Port=1"), "--device ssh://USER@HOST")],
)
def test_what_is_no_device(typed: Typed, options: tuple[str, ...], message: str) -> None:
    code, said = typed("bench", "edge1k", *options)
    assert (code, message in said) == (2, True), said


@needs_board
@needs_compiler
class TestFleet:
    def test_a_fleet_is_rolled_out_and_goes_on(self, scene: Scene, tmp_path: Path) -> None:
        good, gone = scene.board.address, f"gone@127.0.0.1:{free_port()}"
        hosts = tmp_path / "hosts"
        hosts.write_text(f"# the kitchen\n{good}\n\n{gone}  # the attic\n")
        bundle = scene.fresh()
        command = [word for word in scene.command(bundle, "--hosts", str(hosts), "--max-failed", "0.5") if word != good]
        first = subprocess.run(command, capture_output=True, text=True, check=False)
        refused(first, "1 of 2 boards do not have it", code=1)
        assert {"deployed", "failed"} <= set(first.stdout.split())
        states = json.loads((tmp_path / "hosts.deployed.json").read_text())["boards"]
        assert [(one["host"], one["state"]) for one in states] == [(good, "deployed"), (gone, "failed")]
        hosts.write_text(f"{good}\n")
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert good not in again.stderr  # it was not asked again


@pytest.fixture(scope="module")
def served(pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Return a machine under systemd with a service that answers."""
    folder = tmp_path_factory.mktemp("served")
    try:
        with machine() as found:
            made = Scene(found, folder, pair, f"127.0.0.1:{free_port()}")
            first = made.deploy(made.fresh())
            assert first.returncode == 0, first.stderr
            yield made
    except NoMachineError as error:
        pytest.skip(f"no machine of its own can be started here: {error}")


@needs_machine
class TestService:
    def test_it_runs_as_nobody_known_and_may_write_nothing(self, served: Scene) -> None:
        shown = served.board.run(
            "sudo systemctl show edgecnn -p DynamicUser -p MemoryMax -p NoNewPrivileges -p ProtectSystem -p MainPID"
        ).stdout.decode()
        values = dict(line.split("=") for line in shown.split())
        assert (values["DynamicUser"], values["NoNewPrivileges"], values["ProtectSystem"]) == ("yes", "yes", "strict")
        assert int(values["MemoryMax"]) == 384 * 2**20
        status = served.board.run(f"cat /proc/{values['MainPID']}/status").stdout.decode()
        uid = next(line.split()[1] for line in status.splitlines() if line.startswith("Uid:"))
        assert int(uid) >= 61_184  # systemd's range of dynamic users
        assert served.board.run("sudo systemctl is-enabled edgecnn").stdout == b"enabled\n"

    def test_a_new_version_serves_and_rollback_brings_the_old_one_back(self, served: Scene) -> None:
        before = served.board.current()
        done = served.deploy(served.fresh())
        assert not served.serves(done.stdout.strip())
        command = [
            word for word in served.command(Path("x")) if word not in ("x", "--service", "--listen", served.listen)
        ]
        back = subprocess.run([*command, "--rollback"], capture_output=True, text=True, check=False)
        assert back.stdout.strip() == before, back.stderr
        assert not served.serves(before)

    def test_a_deployment_that_does_not_name_the_service_keeps_it(self, served: Scene) -> None:
        bundle = served.fresh()
        words = [word for word in served.command(bundle) if word not in ("--service", "--listen", served.listen)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert not served.serves(done.stdout.strip())

    @pytest.mark.parametrize(
        "fault", [deployments.service_ends_at_once, deployments.connection_dropped_in_switch], ids=lambda f: f.__name__
    )
    def test_the_old_version_serves_after(
        self, served: Scene, fault: Callable[[Scene], Deploy], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(deployments, "WAIT_S", "4")
        seen = deployments.broken(served, fault)
        assert seen["old_serves"], seen
        assert seen["next_succeeds"], seen


@needs_machine
def test_the_unit_is_one_and_is_hardened(tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "edgecnn.service").read_text()
    unit = tmp_path / "edgecnn.service"
    (tmp_path / "current").mkdir()
    unit.write_text(text.replace("@ROOT@", str(tmp_path)).replace("@LISTEN@", "127.0.0.1:8000"))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", unit],
        capture_output=True,
        text=True,
        check=False,
    )  # exposure at most 2.0 of 10
    assert judged.returncode == 0, judged.stdout[-300:]


def test_the_container_file_starts_what_a_bundle_holds() -> None:
    """It is not built here: that needs a container engine and a registry."""
    text = re.sub(r"\\\n", "", (ROOT / "deploy" / "Containerfile").read_text())
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    assert {word for word, _ in lines} <= {
        "FROM",
        "COPY",
        "RUN",
        "USER",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
    }
    given = {word: rest for word, rest in lines if word in ("ENTRYPOINT", "CMD")}
    assert json.loads(given["ENTRYPOINT"]) + json.loads(given["CMD"]) == [
        "python", "/bundle/predict.pyz", "--serve", "0.0.0.0:8000",
    ]  # fmt: skip
    assert json.loads(text.partition("HEALTHCHECK")[2].partition("CMD")[2].splitlines()[0])[0] == "python"


def test_a_canary_that_fails_stops_all(tmp_path: Path) -> None:
    asked = []

    def deploy(host: str) -> tuple[str, str]:
        asked.append(host)
        raise BoardError(f"{host}: gone")

    found = fleet.roll_out(["a", "b", "c"], deploy, state=tmp_path / "state", canary=1, **ROLL)
    assert asked == ["a"]
    assert [(one.host, one.state) for one in found] == [("a", "failed"), ("b", "not reached"), ("c", "not reached")]
    assert found[0].note == "gone"


ROLL = {"wanted": "x", "parallel": 1, "max_failed": 0.25, "observe": lambda outcome: None}


def test_too_many_failures_stop_the_rest(tmp_path: Path) -> None:
    asked = []

    def deploy(host: str) -> tuple[str, str]:
        asked.append(host)
        if host in "bcd":
            raise BoardError("gone")
        return "deployed", "v"

    hosts = list("abcdefgh")
    fleet.roll_out(hosts, deploy, state=tmp_path / "state", canary=1, **ROLL)
    assert asked == list("abcd")  # a third of eight is more than a quarter
    asked.clear()
    fleet.roll_out(hosts, deploy, state=tmp_path / "state", canary=1, **ROLL | {"max_failed": 1.0})
    assert asked == list("bcdefgh")  # what has it is not asked again
    asked.clear()
    fleet.roll_out(["a"], deploy, state=tmp_path / "state", canary=1, **ROLL | {"wanted": "another"})
    assert asked == ["a"]


def test_boards_of_a_fleet_are_deployed_to_together(tmp_path: Path) -> None:
    from threading import Barrier

    barrier = Barrier(3, timeout=20)  # passed only by three at once

    def deploy(host: str) -> tuple[str, str]:
        barrier.wait()
        return "deployed", "v"

    found = fleet.roll_out(list("abcdef"), deploy, state=tmp_path / "state", canary=0, **ROLL | {"parallel": 3})
    assert all(one.is_good for one in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pi@one\npi one\n", "line 2"),
        ("-oProxyCommand=id\n", "line 1"),
        ("pi@one\npi@one\n", "in line 1 already"),
        ("pi@one:99999\n", "line 1"),
        ("# nobody\n", "no board in it"),
    ],
)
def test_a_bad_line_of_a_hosts_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "hosts").write_text(text)
    with pytest.raises(ConfigError, match=message):
        fleet.read_hosts(tmp_path / "hosts")


@pytest.mark.parametrize("text", ["", "-p@host", "pi@", "pi@host:0", "pi@ho st", "ssh://", "pi@host;id", "a@b@c"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BoardError, match="no address of a board"):
        parsed(text)


def test_addresses() -> None:
    assert (parsed("ssh://pi@board:2222/").name, parsed("ssh://pi@board:2222/").port) == ("pi@board", 2222)
    assert (parsed("pi@[::1]:22").name, parsed("kitchen").name) == ("pi@::1", "kitchen")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("edge4k", "pi@board", "--root", "/a b"), "--root"),
        (("edge4k", "pi@board", "--root", "~/../x"), "--root"),
        (("edge4k", "pi@board", "--service", "--listen", "8000"), "--listen"),
        (("edge4k", "pi@board", "--runtime", "ort"), "--model-format onnx"),
        ((), "USER@HOST"),
        (("a", "b", "c"), "USER@HOST"),
        (("edge4k", "-x@board"), "No such option"),
    ],
)
def test_options_that_do_not_go_together(typed: Typed, options: tuple[str, ...], message: str) -> None:
    code, said = typed("deploy", *options)
    assert (code, message in said) == (2, True), said


def test_requirements_are_those_of_the_machine() -> None:
    text = (
        '# pip\nnumpy==2.4.6; platform_machine != "armv7l"\npillow==13.0.0\nai-edge-litert==2.3.0; '
        'platform_machine != "armv7l"\nnumpy==1.26.4; platform_machine == "armv7l"\n'
    )
    assert requirements_for(text, "aarch64") == ["numpy==2.4.6", "pillow==13.0.0", "ai-edge-litert==2.3.0"]
    assert requirements_for(text, "armv7") == ["pillow==13.0.0", "numpy==1.26.4"]
    assert requirements_for(text, "x86_64", only=("numpy", "pillow")) == ["numpy==2.4.6", "pillow==13.0.0"]


def test_a_machine_is_that_of_a_program_not_of_the_kernel() -> None:
    assert machine_of(Path("/bin/sh").read_bytes()[:64]) in ("x86_64", "aarch64")
    assert machine_of(b"#!/bin/sh\n") is None
