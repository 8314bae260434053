"""Many boards: some first, then several at a time, until too many fail; what is done is written down as it happens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edgecnn import artifact
from edgecnn.boards import ssh
from edgecnn.errors import ArtifactError, BoardError, ConfigError, EdgecnnError

SCHEMA = 1
DEPLOYED, UNCHANGED, FAILED, WAITING = "deployed", "unchanged", "failed", "not reached"


@dataclass(frozen=True)
class Outcome:
    """How one board ended, and a word on it: the version, or what went wrong."""

    host: str
    state: str = WAITING
    note: str = ""
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the board has what was wanted."""
        return self.state in (DEPLOYED, UNCHANGED)


@dataclass
class Roll:
    """A deployment to many boards, as its state file has it: `wanted` is what is deployed, by hash."""

    wanted: str
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def share_failed(self, total: int) -> float:
        """Return the share of all boards that failed."""
        return sum(one.state == FAILED for one in self.outcomes.values()) / total


Deploy = Callable[[str], tuple[str, str]]  # a host's (state, note); raises `EdgecnnError`


def read_hosts(path: Path) -> list[str]:
    """Return the boards of a file, one a line; raises `ConfigError` naming the line that is none or comes twice."""
    found: dict[str, int] = {}
    for number, line in enumerate(artifact.read_bytes(path).decode(errors="replace").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            ssh.parsed(text)
        except BoardError as error:
            raise ConfigError(f"{path}, line {number}: {error}") from None
        if text in found:
            raise ConfigError(f"{path}, line {number}: {text} is in line {found[text]} already; name it once")
        found[text] = number
    if not found:
        raise ConfigError(f"{path}: no board in it; expected USER@HOST a line")
    return list(found)


def roll_out(
    hosts: Sequence[str],
    deploy: Deploy,
    *,
    wanted: str,
    state: Path,
    canary: int,
    parallel: int,
    max_failed: float,
    observe: Callable[[Outcome], None],
) -> list[Outcome]:
    """Deploy to `hosts`, the first `canary` of them one by one, then `parallel` at a time; return how each ended.

    Nothing is begun any more when a canary fails or more than `max_failed` of all boards have. `state` is a file that
    is written after each; a roll-out of the same `wanted` that was ended goes on: boards that have it are left alone,
    others tried again.
    """
    roll = _resumed(state, wanted)
    roll.outcomes = {host: one for host, one in roll.outcomes.items() if host in hosts and one.is_good}
    left = [host for host in hosts if host not in roll.outcomes]
    first = [host for host in hosts[:canary] if host in left]
    for host in first:
        _note(roll, _one(host, deploy), state, observe)
        if roll.outcomes[host].state == FAILED:
            return _all(hosts, roll)
    rest = iter([host for host in left if host not in first])
    for outcome in _several(rest, deploy, parallel, lambda: roll.share_failed(len(hosts)) <= max_failed):
        _note(roll, outcome, state, observe)
    return _all(hosts, roll)


def _several(hosts: Iterator[str], deploy: Deploy, parallel: int, may_begin: Callable[[], bool]) -> Iterator[Outcome]:
    """Yield outcomes as they come, `parallel` at work; what is begun is waited for."""
    with ThreadPoolExecutor(parallel) as workers:
        going: set[Future[Outcome]] = set()
        while True:
            while len(going) < parallel and may_begin() and (host := next(hosts, None)) is not None:
                going.add(workers.submit(_one, host, deploy))
            if not going:
                return
            done, going = wait(going, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()


def _one(host: str, deploy: Deploy) -> Outcome:
    started = time.monotonic()
    try:
        state, note = deploy(host)
    except EdgecnnError as error:
        state, note = FAILED, str(error).removeprefix(f"{host}: ")
    except OSError as error:
        state, note = FAILED, f"{error.strerror or error}"
    return Outcome(host, state, note, round(time.monotonic() - started, 1))


def _note(roll: Roll, outcome: Outcome, state: Path, observe: Callable[[Outcome], None]) -> None:
    roll.outcomes[outcome.host] = outcome
    values = {"schema": SCHEMA, "wanted": roll.wanted, "boards": [asdict(one) for one in roll.outcomes.values()]}
    artifact.write_atomic(state, json.dumps(values, indent=1) + "\n")
    observe(outcome)


def _all(hosts: Sequence[str], roll: Roll) -> list[Outcome]:
    return [roll.outcomes.get(host, Outcome(host)) for host in hosts]


def _resumed(state: Path, wanted: str) -> Roll:
    """Return what the state file says, or a new beginning where it is of another deployment or not there."""
    try:
        values = json.loads(state.read_text())
        outcomes = {one["host"]: Outcome(**one) for one in values["boards"]}
        is_same = values["schema"] == SCHEMA and values["wanted"] == wanted
    except FileNotFoundError:
        return Roll(wanted)
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{state}: no state of a deployment ({error!r:.80}); remove it to begin anew") from None
    return Roll(wanted, outcomes if is_same else {})
