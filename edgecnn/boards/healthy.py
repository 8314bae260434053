"""Wait until the service predicts: ``healthy.py SECONDS ADDRESS SHA256 LABEL PIXELS``. Runs on the board, alone.

ADDRESS is HOST:PORT that it listens on, SHA256 the model's hash that it must serve, LABEL what it must read in the
file PIXELS. Exits 0 when it did so and has stayed up for three seconds; else 1 after SECONDS, the reason printed.
"""

import json
import sys
import time
import urllib.request
from pathlib import Path

STAYS_S = 3.0  # one that falls after its start has another uptime


def url_of(address: str) -> str:
    """Return where to ask what listens on `address`: on all interfaces, this machine's own."""
    host, _, port = address.rpartition(":")
    return f"http://{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def ask(url: str, body: "bytes | None" = None) -> dict:  # type: ignore[type-arg]
    """Return the JSON that is answered, an error's as well; whatever a proxy of the environment is, it is not asked."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/octet-stream"})
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(request, timeout=10) as response:
        return json.load(response)  # type: ignore[no-any-return]


def check(url: str, sha256: str, label: str, pixels: bytes) -> str:
    """Return what is wrong, or nothing."""
    health = ask(f"{url}/health")
    if health.get("sha256") != sha256:
        return f"another model is served: {health.get('model')}, sha256 {str(health.get('sha256'))[:12]}"
    answer = ask(f"{url}/predict", pixels)
    if answer.get("label") != label:
        return f"it reads {answer.get('label')!r} where {label!r} is expected"
    return "" if health["uptime_s"] >= STAYS_S else f"it is up for {health['uptime_s']} s"


def main(seconds: str, address: str, sha256: str, label: str, pixels: str) -> int:
    """Ask until all is well or the time is up; return the exit code."""
    end, wrong = time.monotonic() + float(seconds), "never asked"
    while time.monotonic() < end:
        try:
            wrong = check(url_of(address), sha256, label, Path(pixels).read_bytes())
        except (OSError, ValueError, KeyError) as error:
            wrong = f"no answer at {address}: {error}"
        if not wrong:
            return 0
        time.sleep(0.5)
    print(wrong)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
