# One command each; `make` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
WEIGHTS ?= demo
SCENARIO ?= all
VENV := .venv
BIN := $(VENV)/bin
FRAMEWORKS := .venv-integrations
INSTALLED := $(VENV)/.installed
RUNNABLE := $(VENV)/.runnable
TALKING := $(VENV)/.talking
comma := ,
# PyTorch's own index has builds without CUDA, a fraction of the default's size: taken where it answers and there is no GPU.
TORCH_INDEX := https://download.pytorch.org/whl/cpu
FIND_TORCH_INDEX := command -v nvidia-smi > /dev/null || $(PYTHON) -c 'from urllib.request import urlopen; \
	urlopen("$(TORCH_INDEX)/torch/", timeout=4); print("--extra-index-url=$(TORCH_INDEX)")' 2> /dev/null
# uv downloads several packages at a time, but does not read pip's configuration: it is told of another index, and pip follows
# where it finds no way.
INDEX := $(BIN)/python -m pip config list | sed -n "s/^[a-z:]*\.index-url='\(.*\)'/\1/p" | tail -1
QUICK_INSTALL = { $(BIN)/python -m pip install --disable-pip-version-check --quiet 'uv>=0.9,<1' && \
	UV_DEFAULT_INDEX=$$($(INDEX)) $(BIN)/uv pip install --python $(BIN)/python --editable $(1); } || \
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile --editable $(1)
IMPORTED := onnxruntime, sadtalker_client, sadtalker_server, sadtalker_runtime.animation.animator, sadtalker_runtime.live.session
MINUTES ?= 25
DEVICE ?= cpu
PRESET ?= official

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check $$($(FIND_TORCH_INDEX)) --editable '.[dev]'
	touch $@ $(RUNNABLE) $(TALKING)

# What runs the demo, without PyTorch; the whole environment has it, too. pip would compile every module, most of which are
# never imported (all of sympy, most of SciPy); those that are imported are compiled here, once for all processes.
$(RUNNABLE): pyproject.toml
	test $(INSTALLED) -nt pyproject.toml || { $(PYTHON) -m venv $(VENV) && \
	{ $(call QUICK_INSTALL,'.[server]'); } && \
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -c 'import $(IMPORTED)'; }
	touch $@

# The demo's networks are in the checkout; others are exported with PyTorch.
repository: $(if $(filter demo,$(WEIGHTS)),$(RUNNABLE),networks)
	$(if $(filter demo,$(WEIGHTS)),$(BIN)/sadtalker-server init model_repository)

networks: $(INSTALLED) ## export networks (WEIGHTS=demo, tiny, official or a directory) if they are not there yet
	$(BIN)/sadtalker-export onnx --weights $(WEIGHTS) --precision auto --repository model_repository

setup: $(INSTALLED) ## create the environment in .venv

demo: repository ## animate the example portrait with the example speech: out/demo.mp4
	$(BIN)/python examples/demo.py

serve: repository ## keep a server up on 127.0.0.1 (gRPC 8001; probes and metrics 8000)
	$(BIN)/sadtalker-server

$(TALKING): pyproject.toml
	test $(INSTALLED) -nt pyproject.toml || { $(PYTHON) -m venv $(VENV) && \
	{ $(call QUICK_INSTALL,'.[server$(comma)gateway]'); }; }
	touch $@

chat: repository $(TALKING) ## talk with a portrait in the browser: server, gateway and page on 127.0.0.1:8080
	$(BIN)/python examples/chat.py

bundle: $(INSTALLED) ## pack the demo's networks for the wheel, after a change of their weights or of the exporter
	$(BIN)/sadtalker-export bundle

train-demo: $(INSTALLED) ## train the demo's networks, on from where they are: MINUTES=25, on a GPU if there is one (needs espeak-ng)
	$(BIN)/sadtalker-train --minutes $(MINUTES)

bench: $(INSTALLED) ## the original algorithm against this server: benchmarks/results/bench_official.*; DEVICE=cuda: its networks on a GPU
	$(BIN)/python benchmarks/$(if $(filter cuda,$(DEVICE)),bench_gpu.py,bench.py)

gpu-proof: ## every GPU measurement, without internet: DEVICE=cpu PRESET=tiny tries it; WHEELS=DIR has missing packages
	PYTHONPATH=client:server:export $(or $(wildcard $(BIN)/python),$(PYTHON)) benchmarks/gpu_proof.py --preset $(PRESET) \
	--device $(if $(filter command environment,$(firstword $(origin DEVICE))),$(DEVICE),cuda) $(if $(WHEELS),--wheels $(WHEELS)) $(if $(QUICK),--quick)

soak: networks ## memory during a five-minute video: benchmarks/results/soak.*
	$(BIN)/python benchmarks/soak.py

mixed-soak: $(INSTALLED) ## memory under random requests, valid and not: MINUTES=60; benchmarks/results/mixed_soak.*
	$(BIN)/python benchmarks/mixed_soak.py $(if $(filter command environment,$(firstword $(origin MINUTES))),--minutes $(MINUTES))

attack: $(INSTALLED) ## attack a fresh server, step by step: benchmarks/results/attack.json
	$(BIN)/python benchmarks/attack.py

fuzz: $(INSTALLED) ## fuzz what reads files and options, guided by coverage: MINUTES=10; findings in out/fuzz/
	$(BIN)/python benchmarks/fuzz.py $(if $(filter command environment,$(firstword $(origin MINUTES))),--minutes $(MINUTES))

faults: networks ## what a caller sees when a process dies, and how long until it serves again: benchmarks/results/faults.json
	$(BIN)/python benchmarks/faults.py

scarcity: networks ## a full /dev/shm, a full disk, the kernel's OOM killer; as root: benchmarks/results/scarcity.json
	$(BIN)/python benchmarks/scarcity.py

bench-gateway: networks ## from Send to a moving face in Chromium: benchmarks/results/gateway.json
	$(BIN)/python benchmarks/gateway.py

compare: repository $(INSTALLED) ## measure, weigh and rank variants of this server: out/comparison/comparison.html
	test -e out/compare/tiny/exported.json || { $(BIN)/sadtalker-server init out/compare/tiny && \
	$(BIN)/sadtalker-export onnx --weights tiny --repository out/compare/tiny; }
	$(BIN)/sadtalker-compare comparison/own_variants.toml

live: networks ## live sessions: latency, look-ahead against its price, continuity: benchmarks/results/live.*
	$(BIN)/python benchmarks/live.py

trace: networks ## one video's spans and its line of the log: docs/images/trace.svg, docs/operating.md
	$(BIN)/python benchmarks/traced_video.py

perf: networks ## load tests with perf_analyzer (SCENARIO=smoke, sweep or all): benchmarks/results/perf_*
	$(BIN)/python benchmarks/perf.py --preset $(WEIGHTS) --scenario $(SCENARIO)

test: $(INSTALLED) ## run every test
	$(BIN)/python -m pytest

$(FRAMEWORKS)/.installed: pyproject.toml
	$(PYTHON) -m venv $(FRAMEWORKS)
	$(FRAMEWORKS)/bin/python -m pip install --disable-pip-version-check --quiet --editable '.[pipecat,livekit]' 'pytest>=8,<10' 'pytest-timeout>=2.3,<3'
	touch $@

test-integrations: $(FRAMEWORKS)/.installed ## test the adapters with the real Pipecat and LiveKit, in .venv-integrations
	$(FRAMEWORKS)/bin/python -m pytest -q --timeout 60 integrations/tests

build/azurite/node_modules/.bin/azurite-blob:
	npm install --prefix build/azurite --no-audit --no-fund azurite

test-azurite: $(INSTALLED) build/azurite/node_modules/.bin/azurite-blob ## test the gateway's store on Azurite, Azure's emulator (needs npm)
	AZURITE=$(abspath build/azurite/node_modules/.bin/azurite-blob) $(BIN)/python -m pytest tests/gateway/azurite_storage.py

check: $(INSTALLED) ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## write the API reference from docstrings: build/docs/index.html
	$(BIN)/python tools/api_reference.py

generate: $(INSTALLED) ## write option tables and configuration variants from their declarations
	$(BIN)/python -m sadtalker_runtime.generate

release: $(INSTALLED) ## set the version, VERSION=x.y.z, and all that quotes it; needs kubectl and a section in CHANGELOG.md
	$(BIN)/python tools/release.py $(VERSION)

clean: ## remove what was built, downloads excepted
	rm -rf out build $(VENV) model_repository/exported.json model_repository/*/1/model*.onnx model_repository/*/1/model.plan

.PHONY: help setup repository networks bundle demo serve chat train-demo bench bench-gateway gpu-proof live soak mixed-soak compare attack fuzz faults scarcity trace perf test test-integrations check format docs generate release clean
