# Two commands: `make report` writes the density comparison reports, `make test` runs the tests.
# `make bench` times the suite beside its peers, which it installs; BENCH_ARGS=--quick only tries the scripts.
# TORCH_PIP_ARGS takes extra arguments for pip, for who wants another torch build.
PYTHON ?= python3
TORCH_PIP_ARGS ?=
REPORT_ARGS ?=
BENCH_ARGS ?=
BENCHMARKS = mixture restarts large naive_bayes vae_step vae_epoch vae_scoring processes kills explorer

.PHONY: report test bench

report: .venv/installed
	.venv/bin/python analyses/report.py $(REPORT_ARGS)

test: .venv/installed
	.venv/bin/python -m pytest -n auto --dist worksteal

bench: .venv/installed
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) -c constraints.txt -e ".[bench]"
	set -e; for name in $(BENCHMARKS); do .venv/bin/python analyses/benchmarks/$$name.py $(BENCH_ARGS); done

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) -c constraints.txt -e ".[dev]"
	touch $@
