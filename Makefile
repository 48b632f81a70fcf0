# Needs python3 (3.11 or newer) and make; everything else is fetched into .venv and the cache.
PYTHON ?= python3
ARGS ?=

VENV := .venv/bin
BOOTSTRAP := @$(PYTHON) scripts/bootstrap.py

.DEFAULT_GOAL := help
.PHONY: help labs ipvs ipvs-core test unit cluster lint types constraints clean distclean venv

help:
	@echo "make labs       run every lab on a real cluster, print which claims hold"
	@echo "                (ARGS='--keep-cluster -k CIP-01' and the like are passed on)"
	@echo "make ipvs       IPVS' column of them alone, in a guest where this kernel has no ip_vs"
	@echo "make ipvs-core  the claims of that column that IPVS alone decides on"
	@echo "make test       the harness's own tests: unit, then cluster"
	@echo "make unit       the part of them that needs no cluster (seconds)"
	@echo "make cluster    the part of them that runs on a real cluster (minutes)"
	@echo "make lint       ruff, actionlint, zizmor"
	@echo "make types      mypy --strict"
	@echo "make clean      remove what running and building left in this checkout"
	@echo "make distclean  clean, and remove .venv and the cache of built images"
	@echo "PYTHON=python3.12 chooses another interpreter"

venv:
	$(BOOTSTRAP)

labs: venv
	$(VENV)/servicelab run --proxy-mode all $(ARGS)

ipvs: venv
	$(VENV)/servicelab run --proxy-mode ipvs $(ARGS)

# What IPVS mode does otherwise than the others, for those who can't wait for the whole column.
IPVS_CORE = PXY-01 or PXY-05 or PXY-08 or PXY-09 or PXY-10 or PXY-11 or PXY-17 or CIP-08 or AFF-01 \
            or HL-03 or NP-01
ipvs-core: venv
	$(VENV)/servicelab run --proxy-mode ipvs -k "$(IPVS_CORE)" $(ARGS)

test: unit cluster

unit: venv
	@echo "== the harness's tests that need no cluster"
	$(VENV)/python -m pytest tests -m "not docker" $(ARGS)

cluster: venv
	@echo "== the harness's tests on a real cluster (it is made first, and deleted afterwards)"
	$(VENV)/python -m pytest tests/cluster -m docker $(ARGS)

lint types: venv
	$(VENV)/tox run -e $@

# With the oldest Python, since the versions must exist for it.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet ".[dev]"
	{ grep '^#' constraints.txt; \
	  build/constraints/bin/python -m pip freeze --exclude servicelab; } > build/constraints.txt
	mv build/constraints.txt constraints.txt
	rm -rf build/constraints

clean:
	@$(PYTHON) scripts/clean.py

distclean:
	@$(PYTHON) scripts/clean.py --all
