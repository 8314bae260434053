"""Under what conditions a measurement was made, and whether they were clean."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import Any

_CPU = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
_SENSORS = Path("/sys/class/hwmon")
_THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
# Raspberry Pi firmware, the four conditions that hold now (bits 16 to 19: since boot).
_THROTTLE_BITS = {0: "undervoltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
_BUSY_CORES_ALLOWED = 0.25
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "asimd", "neon", "asimddp", "fphp", "i8mm", "sve")


def conditions(*, look_s: float = 0.5) -> dict[str, Any]:
    """Return CPU, governor, frequency, throttling, load and what makes them unclean; null where it cannot be read.

    Watches the machine for `look_s` seconds, so call it before anything is started.
    """
    found = {
        "cpu": _cpu(),
        "cpu_features": _features(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "governor": _text(_CPU / "scaling_governor"),
        "frequency_khz": _number(_CPU / "scaling_cur_freq"),
        "frequency_max_khz": _number(_CPU / "cpuinfo_max_freq"),
        "throttled": _throttled(),
        "temperature_c": _temperature(),
        "load_average": round(os.getloadavg()[0], 2),
        "busy_cores": _busy_cores(look_s),
    }
    return found | {"not_clean": reasons(found)}


class Watch:
    """Looks at the machine from its making to `seen`, while this program and its children measure."""

    def __init__(self) -> None:
        self._start, self._ticks, self._own_s = time.monotonic(), _ticks(), _own_cpu_s()

    def seen(self, *, workers_s: float = 0.0) -> dict[str, Any]:
        """Return what conditions were while measuring; call it when the children have ended.

        `workers_s` are the CPU seconds of those who measured and are no children.
        """
        return {"busy_cores_meanwhile": self._others_busy_cores(workers_s), "throttled_meanwhile": _throttled()}

    def _others_busy_cores(self, workers_s: float) -> float | None:
        """Return how many cores' worth of time others took: all of it less what this one and its workers did."""
        now = _ticks()
        if now is None or self._ticks is None:
            return None
        idle, total = now[0] - self._ticks[0], now[1] - self._ticks[1]
        busy_s = (total - idle) / os.sysconf("SC_CLK_TCK")
        return round(max(0.0, busy_s - (_own_cpu_s() - self._own_s) - workers_s) / (time.monotonic() - self._start), 2)


def reasons(found: dict[str, Any]) -> list[str]:
    """Return what makes a measurement under `found` doubtful, one phrase each; empty when it is clean."""
    unclean = []
    # Before the first model is started, and while they were measured: either is enough.
    busy = max(found.get(when) or 0.0 for when in ("busy_cores", "busy_cores_meanwhile"))
    if busy > _BUSY_CORES_ALLOWED:
        unclean.append(f"other programs keep {busy:.2f} cores busy")
    if found["governor"] not in (None, "performance"):
        unclean.append(f"CPU governor is {found['governor']}, not performance")
    before, after = found["throttled"] or 0, found.get("throttled_meanwhile") or 0
    # What holds now, before or after, and what the "since boot" bits have gained: it came and went meanwhile.
    flags = before | after | (after & ~before) >> 16
    unclean += [f"board reports {name}" for bit, name in _THROTTLE_BITS.items() if flags >> bit & 1]
    return unclean


def _busy_cores(seconds: float) -> float | None:
    """Return how many cores' worth of time all programs took during `seconds` in which this one sleeps."""
    before = _ticks()
    time.sleep(seconds)
    after = _ticks()
    if before is None or after is None or after[1] == before[1]:
        return None
    idle, total = after[0] - before[0], after[1] - before[1]
    return round((1 - idle / total) * (os.cpu_count() or 1), 2)


def _own_cpu_s() -> float:
    """Return the CPU seconds of this process and of those of its children that have ended."""
    return sum(os.times()[:4])


def _ticks() -> tuple[int, int] | None:
    """Return (idle, all) clock ticks of all cores since boot."""
    line = (_text(Path("/proc/stat")) or "").split("\n")[0].split()[1:9]
    values = [int(value) for value in line]
    return (values[3] + values[4], sum(values)) if len(values) == 8 else None


def _throttled() -> int | None:
    """Return the Raspberry Pi firmware's flags, or None on other machines."""
    text = _text(_THROTTLED)
    if text is None:
        try:
            answer = subprocess.run(
                ["vcgencmd", "get_throttled"], capture_output=True, text=True, timeout=5, check=True
            )
        except (OSError, subprocess.SubprocessError):
            return _undervoltage()
        text = answer.stdout.partition("=")[2]
    try:
        return int(text, 16)
    except ValueError:
        return None


def _undervoltage() -> int | None:
    """Return the one flag that the kernel's own driver (rpi_volt) knows, for systems without the firmware's tools."""
    for sensor in _SENSORS.glob("hwmon*"):
        if _text(sensor / "name") == "rpi_volt":
            return _number(sensor / "in0_lcrit_alarm")
    return None


def _temperature() -> float | None:
    """Return the processor's temperature in degrees Celsius."""
    thousandths = _number(_TEMPERATURE)
    return None if thousandths is None else thousandths / 1000


def _cpu() -> str:
    cpuinfo = _text(Path("/proc/cpuinfo")) or ""
    match = re.search(r"^(?:model name|Model)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else platform.machine()


def _features() -> list[str]:
    cpuinfo = _text(Path("/proc/cpuinfo")) or ""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    present = set(match[1].split()) if match else set()
    return [name for name in _FEATURES if name in present]


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None
