# Two commands: `make report` writes the density comparison reports, `make test` runs the tests.
# TORCH_PIP_ARGS takes extra arguments for pip, for who wants another torch build.
PYTHON ?= python3
TORCH_PIP_ARGS ?=
REPORT_ARGS ?=

.PHONY: report test

report: .venv/installed
	.venv/bin/python analyses/report.py $(REPORT_ARGS)

test: .venv/installed
	.venv/bin/python -m pytest -n auto --dist worksteal

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check $(TORCH_PIP_ARGS) -c constraints.txt -e ".[dev]"
	touch $@
