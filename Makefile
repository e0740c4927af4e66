# One command each; `make` lists them.
.DEFAULT_GOAL := help
PYTHON ?= python3
WEIGHTS ?= demo
SCENARIO ?= all
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
MINUTES ?= 25
DEVICE ?= cpu
# Triton's own modules exist only inside its Python backend.
DOCUMENTED := sadtalker_client sadtalker_server sadtalker_runtime sadtalker_export sadtalker_training '!sadtalker_runtime.triton' '!sadtalker_runtime.onnx_backend'

help: ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --editable '.[dev]'
	touch $@

networks: $(INSTALLED) ## export networks (WEIGHTS=demo, tiny, official or a directory) if they are not there yet
	$(BIN)/sadtalker-export onnx --weights $(WEIGHTS) --precision auto --repository model_repository

setup: $(INSTALLED) ## create the environment in .venv

demo: networks ## animate the example portrait with the example speech: out/demo.mp4
	$(BIN)/python examples/demo.py

serve: networks ## keep a server up on 127.0.0.1 (gRPC 8001; probes and metrics 8000)
	$(BIN)/sadtalker-server

train-demo: $(INSTALLED) ## train the demo's networks, on from where they are: MINUTES=25, on a GPU if there is one (needs espeak-ng)
	$(BIN)/sadtalker-train --minutes $(MINUTES)

bench: $(INSTALLED) ## the original algorithm against this server: benchmarks/results/bench_official.*; DEVICE=cuda: its networks on a GPU
	$(BIN)/python benchmarks/$(if $(filter cuda,$(DEVICE)),bench_gpu.py,bench.py)

soak: networks ## memory during a five-minute video: benchmarks/results/soak.*
	$(BIN)/python benchmarks/soak.py

faults: networks ## what a caller sees when a process dies, and how long until it serves again: benchmarks/results/faults.json
	$(BIN)/python benchmarks/faults.py

perf: networks ## load tests with perf_analyzer (SCENARIO=smoke, sweep or all): benchmarks/results/perf_*
	$(BIN)/python benchmarks/perf.py --preset $(WEIGHTS) --scenario $(SCENARIO)

test: $(INSTALLED) ## run every test
	$(BIN)/python -m pytest

check: $(INSTALLED) ## lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED) ## format the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED) ## write the API reference from docstrings: build/docs/index.html
	$(BIN)/python -m pdoc -o build/docs -d google $(DOCUMENTED)

clean: ## remove what was built, downloads excepted
	rm -rf out build $(VENV) model_repository/exported.json model_repository/*/1/model*.onnx model_repository/*/1/model.plan

.PHONY: help setup networks demo serve train-demo bench soak faults perf test check format docs clean
