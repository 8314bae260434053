"""`edgecnn deploy`: what goes to a board, or to many, over ssh."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgecnn.cli.options import ROOT, ModelFormatOption, RootOption, SchemeOption, SshConfigOption, SshOption
from edgecnn.cli.terminal import print_table, say
from edgecnn.errors import ConfigError, GateError

if TYPE_CHECKING:
    from edgecnn.boards.ssh import Host
    from edgecnn.pipeline.deploying import Wanted


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Which boards, and how many at a time."""

    file: Path
    parallel: int
    canary: int
    max_failed: float


def deploy(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [USER@HOST]",
            help="What to deploy: as in export --format bundle, or a bundle; by default the latest run, else edge35k. "
            "Where: USER@HOST, USER@HOST:PORT, or a name of ssh's configuration.",
            show_default=False,
        ),
    ] = None,
    hosts: Annotated[
        Path | None, typer.Option("--hosts", help="File with a board a line, instead of one.", show_default=False)
    ] = None,
    service: Annotated[
        bool, typer.Option("--service", help="Run predict.pyz --serve there as a systemd service, from boot on.")
    ] = False,
    listen: Annotated[
        str | None,
        typer.Option("--listen", help="Where the service listens. [default: 127.0.0.1:8000]", show_default=False),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            help="c: the model compiled for the board, without packages. Default: the format's runtime.",
            show_default=False,
        ),
    ] = None,
    scheme: SchemeOption = "int8",
    model_format: ModelFormatOption = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Which model of a run. Default: baseline.", show_default=False)
    ] = None,
    root: RootOption = ROOT,
    wheels: Annotated[
        Path | None,
        typer.Option("--wheelhouse", help="Folder of wheels to take, not the package index.", show_default=False),
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=1, help="Seconds that a service has until it predicts.")] = 60.0,
    rollback: Annotated[bool, typer.Option("--rollback", help="Go back to the version before.")] = False,
    look: Annotated[bool, typer.Option("--look", help="Say what the board is and has; change nothing.")] = False,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="--hosts: boards at a time.")] = 4,
    canary: Annotated[int, typer.Option("--canary", min=0, help="--hosts: boards that go first, one by one.")] = 1,
    max_failed: Annotated[
        float, typer.Option("--max-failed", min=0, max=1, help="--hosts: stop when a larger share of all fails.")
    ] = 0.1,
    port: Annotated[int | None, typer.Option("--port", help="Port of ssh.", show_default=False)] = None,
    ssh_option: SshOption = None,
    ssh_config: SshConfigOption = None,
) -> None:
    """Put a model on a board over ssh: tried there, then switched to in one step; a failure leaves the old one."""
    from edgecnn.boards import ssh
    from edgecnn.boards.fleet import read_hosts
    from edgecnn.boards.parcel import check_listen, check_root
    from edgecnn.cli import choose

    check_root(root)
    if listen is not None:
        check_listen(listen)
    if runtime not in (None, "c"):
        raise ConfigError(f"--runtime: got {runtime!r}; expected c; for ONNX Runtime: --model-format onnx")
    via: dict[str, Any] = {"port": port, "options": ssh_option or (), "config": ssh_config}
    fleet = None if hosts is None else Fleet(file=hosts, parallel=parallel, canary=canary, max_failed=max_failed)
    model, address = _named(list(words or ()), has_hosts=fleet is not None)
    if look or rollback:
        choose.refuse({"--hosts": hosts, "MODEL": model}, "--look and --rollback are for one board")
        _at_board(ssh.parsed(address, **via), root, wait, rollback=rollback)
        return
    # What is wrong with an address is told before anything is exported.
    board = None if fleet is not None else ssh.parsed(address, **via)
    if fleet is not None:
        read_hosts(fleet.file)
    what: dict[str, Any] = {"root": root, "in_c": runtime == "c", "service": service, "listen": listen}
    wanted = _wanted(
        model, scheme, recipe=recipe, model_format=model_format, wheels=wheels, wait_s=wait, **what
    )  # fmt: skip
    if fleet is not None:
        _to_many(fleet, wanted, via)
    elif board is not None:
        _to_one(board, wanted)


def _named(words: list[str], *, has_hosts: bool) -> tuple[Path | None, str]:
    """Return the model, if one was named, and the board's address, empty where there is a file of them."""
    expected = "[MODEL] with --hosts FILE" if has_hosts else "[MODEL] USER@HOST"
    address = "" if has_hosts or not words else words.pop()
    if len(words) > 1 or not (has_hosts or address):
        raise ConfigError(f"deploy: got {len(words) + bool(address)} names; expected {expected}")
    return (Path(words[0]) if words else None), address


def _wanted(
    model: Path | None, scheme: str, *, recipe: str | None, model_format: str | None, in_c: bool, **options: Any
) -> Wanted:
    """Return what is to be deployed, exported where it is not yet."""
    from edgecnn import pipeline
    from edgecnn.cli import choose
    from edgecnn.cli.exporting import to_bundle

    if model is not None and pipeline.is_bundle(model):
        choose.refuse({"--recipe": recipe, "--model-format": model_format}, "the bundle holds its model")
        return pipeline.Wanted(model=model, name=model.name.removesuffix(".tar.gz"), in_c=in_c, **options)
    file, name = to_bundle(model, scheme=scheme, recipe=recipe, model_format=model_format)
    if in_c:
        pipeline.check_source(file)
    return pipeline.Wanted(model=file, name=f"{name}-{file.stem}-{file.suffix[1:]}", in_c=in_c, **options)


def _to_one(board: Host, wanted: Wanted) -> None:
    from edgecnn import pipeline

    done = pipeline.deploy(board, wanted, say=say)
    say(f"{done.host}: {'current now' if done.changed else 'is current already'}, after {done.seconds:g} s")
    print(done.version)


def _at_board(board: Host, root: str, wait: float, *, rollback: bool) -> None:
    from edgecnn import pipeline

    if rollback:
        print(pipeline.roll_back(board, root, wait_s=wait, say=say))
        return
    for line in pipeline.looked_at(board, root):
        print(line)


def _to_many(fleet: Fleet, wanted: Wanted, via: dict[str, Any]) -> None:
    """Deploy to the boards of a file; exits 1 where some failed or were not reached, the table saying which."""
    from edgecnn import pipeline

    outcomes = pipeline.deploy_to_many(
        fleet.file,
        wanted,
        via,
        parallel=fleet.parallel,
        canary=fleet.canary,
        max_failed=fleet.max_failed,
        say=say,
    )
    rows = [[one.host, one.state, f"{one.seconds:.1f}", one.note] for one in outcomes]
    print_table(("board", "state", "s", "version, or why not"), rows, text_columns=2)
    if bad := [one for one in outcomes if not one.is_good]:
        raise GateError(
            f"deploy: {len(bad)} of {len(outcomes)} boards do not have it; the same command tries these again"
        )
