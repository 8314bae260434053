"""`edgecnn predict`: the board's program, on the workstation."""

from __future__ import annotations

from pathlib import Path

import typer

from edgecnn.cli.terminal import say

# Its options are those of predict.pyz, which parses them: the same program on the workstation and on the board.
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def predict(context: typer.Context) -> None:
    """Classify images; prints file, label and probability, tab-separated. The same code runs on the board."""
    from edgecnn.device import command_line

    def find_model(named: Path | None, runtime: str | None) -> Path:
        if named is not None and named.is_file():
            return named
        from edgecnn.cli import choose

        model = choose.model_file(named, runtime)
        if model != named:
            say(f"model: {model}")
        return model

    raise typer.Exit(command_line.main(context.args, prog="edgecnn predict", find_model=find_model))
