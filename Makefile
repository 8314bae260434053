# Two commands on a fresh machine: make demo, make test. Everything is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
PEERS = $(VENV)/.peers
# The root of an emulated Raspberry Pi; tests/test_pi.py looks for it in the same place.
PI ?= $(or $(EDGECNN_PI),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/edgecnn/pi)

.PHONY: demo test browser machines board pi test-pi check bench bench-peers models smoke lock format clean

demo: $(READY)  ## the whole job on the embedded digits, then a prediction without TensorFlow
	$(BIN)/edgecnn run --data digits --out runs/demo
	$(BIN)/edgecnn export runs/demo --format bundle --out runs/demo/board
	$(BIN)/python -I runs/demo/board/demo-baseline-int8-tflite/predict.pyz --self-test
	$(BIN)/python -I runs/demo/board/demo-baseline-int8-tflite/predict.pyz deploy/seven.png

test: $(READY)  ## all tests; those that need MNIST or a browser skip with that reason where it is absent
	$(BIN)/pytest -n auto --dist worksteal

browser:  ## install Chromium from Debian's packages for the tests of the report and of the server's page (needs root)
	{ command -v chromium && command -v chromedriver; } >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium chromium-driver >/dev/null; }

machines:  ## install Arm compilers and QEMU from Debian's packages for the tests of C on other machines (needs root)
	{ command -v aarch64-linux-gnu-gcc && command -v arm-linux-gnueabihf-gcc && command -v qemu-aarch64-static && \
	  command -v arm-none-eabi-gcc && command -v qemu-system-arm; } \
	  >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
	  gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross gcc-arm-linux-gnueabihf libc6-dev-armhf-cross \
	  qemu-user-static gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm >/dev/null; }

board:  ## install sshd, systemd and sudo from Debian's packages for the tests of deployments (needs root; no server is started)
	{ command -v /usr/sbin/sshd && command -v flock && command -v sudo && command -v systemd-analyze && \
	  command -v /lib/systemd/systemd && command -v dbus-daemon; } >/dev/null || { apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -qq --no-install-recommends \
	  openssh-server openssh-client systemd dbus sudo util-linux procps >/dev/null; }

pi: $(READY)  ## build an emulated Raspberry Pi from Debian's packages and the aarch64 wheels (needs root; 500 MB, kept)
	{ command -v proot && command -v debootstrap && command -v qemu-aarch64-static; } >/dev/null || { apt-get update -qq \
	  && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends proot debootstrap qemu-user-static \
	  >/dev/null; }
	deploy/pi/build.sh $(PI) $(BIN)/pip

test-pi: pi  ## run a bundle in it: self-test, photos, bad input, --doctor; with LiteRT and with ONNX Runtime
	EDGECNN_PI=$(PI) $(BIN)/pytest tests/test_pi.py

check: $(READY)  ## format, lint, types, and that README says what the code does
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m benchmarks.readme --check

smoke: $(READY)  ## build the wheel, install it with the runtime's dependencies only, predict with it
	rm -rf dist $(VENV)-smoke
	$(BIN)/python -m build --wheel --no-isolation
	$(PYTHON) -m venv $(VENV)-smoke
	$(VENV)-smoke/bin/pip install --quiet "$$(ls $(CURDIR)/dist/*.whl)[litert]"
	cd / && $(abspath $(VENV))-smoke/bin/python -I -m edgecnn predict $(CURDIR)/deploy/seven.png
	cd / && $(abspath $(VENV))-smoke/bin/python -I $(abspath $(VENV))-smoke/lib/python3*/site-packages/edgecnn/deploy/predict.py \
	  $(CURDIR)/deploy/seven.png
	cd / && $(abspath $(VENV))-smoke/bin/python -I -m edgecnn export edge35k --format bundle --out $(CURDIR)/dist
	$(VENV)-smoke/bin/python -I dist/edge35k-int8-tflite/predict.pyz --self-test
	rm -rf $(VENV)-smoke

bench: $(READY)  ## measure the released models (ratios: to edge35k, named first) and the time of the commands; write the figures into README.md
	missed=0; \
	$(BIN)/edgecnn bench models/edge35k models/*/ --json benchmarks/released.json || missed=1; \
	$(BIN)/python -m benchmarks.commands || missed=1; \
	$(BIN)/python -m benchmarks.overhead || missed=1; \
	$(BIN)/python -m benchmarks.repeat || missed=1; \
	$(BIN)/python -m benchmarks.serve || missed=1; \
	$(BIN)/python -m benchmarks.readme; \
	exit $$missed

bench-peers: $(PEERS)  ## measure the released models in other runtimes too; write the ratios into README.md
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.readme

models: $(READY)  ## train and release all models again (MNIST; hours on 2 cores; goes on after a kill)
	$(MAKE) -j2 -f models/Makefile trained
	$(MAKE) -f models/Makefile released

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY)  ## resolve pyproject.toml anew, all but the peers, for every Python and platform, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra train --extra litert --extra ort --extra report --extra search --extra dev \
	  --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	  --no-header --no-annotate --quiet -o requirements.lock

clean:
	rm -rf $(VENV) $(VENV)-smoke dist runs export edgecnn-bench.json edgecnn-bench.disagreeing

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  f"make: $(PYTHON) is {v[0]}.{v[1]}; TensorFlow has wheels for 3.11 to 3.13; run: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

$(PEERS): $(READY)
	$(BIN)/pip freeze --exclude-editable > $(VENV)/locked.txt
	$(BIN)/pip install --quiet --no-build-isolation --constraint $(VENV)/locked.txt --editable '.[peers]'
	touch $@
