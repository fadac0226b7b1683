# Every command the README names. Nothing needs an activated environment.
PYTHON ?= $(shell for p in python3.12 python3.11 python3.10 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
SAM2_CT := $(BIN)/sam2-ct
PORT ?= 8000
OUT ?= out

export PATH := $(CURDIR)/$(BIN):$(PATH)
# torch's waiting threads must not spin: servers and tests share the cores (see lib/__init__.py)
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: setup setup-dev demo test lint serve serve-dicom evaluate builtin-report bench soak clean

setup: $(VENV)/.ready
setup-dev: $(VENV)/.ready-dev

# Without build isolation: sam2's build would fetch a torch of its own, and it needs none.
INSTALL := SAM2_BUILD_CUDA=0 $(PY) -m pip install -q --no-build-isolation

$(VENV)/.ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.10, 3.11 or 3.12 is needed: install one, or say make PYTHON=/path/to/python3.11"; exit 2; }
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q "setuptools>=77,<81" wheel
	$(INSTALL) -e .
	touch $@

$(VENV)/.ready-dev: $(VENV)/.ready
	$(INSTALL) -e ".[dev]"
	touch $@

# make demo | make demo CT=ct.nii.gz PROMPTS=labels.nii.gz [TRUTH=mask.nii.gz]
demo: setup
	$(SAM2_CT) demo -o $(OUT)/demo $(if $(CT),--ct "$(CT)") $(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(TRUTH),--truth "$(TRUTH)")

test: setup-dev
	$(PY) -m pytest

lint: setup-dev
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# make serve STUDIES=folder [LABELS=femur,tibia]
serve: setup
	$(SAM2_CT) serve --studies "$(or $(STUDIES),$(error say which folder holds the volumes: make serve STUDIES=/path/to/folder))" --port $(PORT) $(if $(MODEL),--model $(MODEL)) $(if $(LABELS),--labels "$(LABELS)")

# make serve-dicom [DICOMWEB=http://host/dicom-web] [LABELS=femur,tibia]
serve-dicom: setup
	$(SAM2_CT) serve-dicom -o $(OUT)/dicom --port $(PORT) $(if $(DICOMWEB),--dicomweb "$(DICOMWEB)") $(if $(MODEL),--model $(MODEL)) $(if $(LABELS),--labels "$(LABELS)")

# the paper's tables on a miniature dataset of phantoms, or on a folder in TotalSegmentator's layout:
# make evaluate [DATASET=folder] [PER_CLASS=50] [TABLE="1 annotator"] [MODEL=small]; every choice has its own folder
evaluate: setup
	$(if $(DATASET),,$(SAM2_CT) sample "$(EVALUATED)" --cases 5)
	$(SAM2_CT) evaluate split --dataset "$(EVALUATED)" --per-class $(PER_CLASS) --seed 0 -o "$(RUN)/split.json"
	$(SAM2_CT) evaluate run --dataset "$(EVALUATED)" --split "$(RUN)/split.json" $(TABLE:%=--table %) --model $(or $(MODEL),builtin) -o "$(RUN)"
	$(SAM2_CT) evaluate report "$(RUN)"

PER_CLASS ?= 1
TABLE ?= all
EVALUATED = $(or $(DATASET),$(OUT)/evaluate/phantoms)
RUN = $(OUT)/evaluate/$(notdir $(EVALUATED:/=))-$(PER_CLASS)-$(or $(MODEL),builtin)

# what the built-in checkpoint does: tables and pictures in $(OUT)/builtin
builtin-report: setup
	$(PY) benchmarks/builtin_report.py -o $(OUT)/builtin

# ten minutes on two cores; make bench QUICK=1: two
bench: setup
	$(PY) benchmarks/history.py $(if $(QUICK),--quick)

# 10,000 requests, sound and hostile, and 200 kills: an hour, and a table at the end
# make soak [REQUESTS=2000] [KILLS=20]
soak: setup-dev
	$(PY) benchmarks/soak.py $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(KILLS),--kills $(KILLS))

clean:
	rm -rf $(OUT) build .pytest_cache .ruff_cache
