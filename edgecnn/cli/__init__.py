"""The command line: parse, call, print. Heavy imports happen inside the commands.

The commands stand in modules of their own, by what they do; here they become one program.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, NoReturn

import typer

from edgecnn import __version__
from edgecnn.cli.adopting import adopt
from edgecnn.cli.build import build
from edgecnn.cli.compressing import cluster, prune, quantize
from edgecnn.cli.data import app as data_app
from edgecnn.cli.deploy import deploy
from edgecnn.cli.exporting import export
from edgecnn.cli.looking import inspect, models, sensitivity, verify, zoo
from edgecnn.cli.measuring import bench, report
from edgecnn.cli.predict import PASSED_ON, predict
from edgecnn.cli.releasing import decide, release
from edgecnn.cli.search import app as search_app
from edgecnn.cli.terminal import say
from edgecnn.cli.training import compare, run, teach, train
from edgecnn.device.errors import DeviceError
from edgecnn.errors import EdgecnnError

app = typer.Typer(
    name="edgecnn",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: importing rich for it would double the time to show it
    help="From labelled images to device-ready models: train, prune, quantize, export and measure a compact CNN.",
    epilog="Exit codes: 0 done, 1 a gate refused the result, 2 bad input or something missing, 130 interrupted.",
)

# In the order of --help.
app.command()(run)
app.command()(train)
app.command()(teach)
app.command()(compare)
app.command()(prune)
app.command()(cluster)
app.command()(quantize)
app.command()(export)
app.command()(build)
app.command()(adopt)
app.command()(deploy)
app.command()(bench)
app.command()(report)
app.command(context_settings=PASSED_ON)(predict)
app.command()(verify)
app.command()(inspect)
app.command()(sensitivity)
app.command()(release)
app.command()(decide)
app.command()(models)
app.command()(zoo)
app.add_typer(data_app, name="data")
app.add_typer(search_app, name="search")


def _version(value: bool) -> None:
    if value:
        print(f"edgecnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> NoReturn:
    """Run the command line and exit; an expected error is one line on stderr and its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name may be one that the terminal cannot show
    try:
        app(standalone_mode=True)
    except SystemExit as ended:
        if ended.code == 130:
            say("interrupted; a run goes on where it was when the same command is given again")
        raise
    except (EdgecnnError, DeviceError) as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or error}; check the path, its rights and free space", 2)
    sys.exit(0)


def _fail(message: str, code: int) -> NoReturn:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
