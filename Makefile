# Every target starts from nothing: it builds the virtual environment it needs. `make` lists them.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin

help:      ## list the targets
	@grep -E '^[a-z]+: .*##' Makefile | sed 's/:[^#]*## /	/'

$(VENV)/.package: settings.ini setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.dev: $(VENV)/.package
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: $(VENV)/.package ## train on handwritten digits and draw what was learned, in runs/demo
	$(BIN)/vae_train demo --preset digits --overwrite

test: $(VENV)/.dev ## run the tests in every chapter; fail when package, notebooks or README are not up to date
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	@test -z "$$(git status --porcelain -- nbs vae_nbdev)" || { git status --short -- nbs vae_nbdev; git --no-pager diff --stat -- nbs vae_nbdev; \
	  echo 'The package or the notebooks differ from what is committed: run `make prepare` and commit.'; exit 1; }
	$(BIN)/python tools/readme.py --check
	$(BIN)/python tools/freshness.py
	$(BIN)/python tools/references.py
	$(BIN)/python tools/colab.py --check
	$(BIN)/python tools/reference.py --check
	$(BIN)/python -m pytest -n auto --dist loadfile

prepare: $(VENV)/.dev ## before a commit: clean the notebooks, export the package, write the README and the page's weights
	$(BIN)/python tools/colab.py --write
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean
	$(BIN)/python tools/reference.py
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/play.py

run: $(VENV)/.dev ## run chapters and store their outputs: make run [NB="nbs/01_elbo.ipynb"] [FLAGS="slow data"]
	$(BIN)/python tools/run.py $(NB) --flags "$(FLAGS)"

bench: $(VENV)/.dev ## measure speed and memory side by side, into results; takes a quarter of an hour on a quiet machine
	for name in loop peers data memory layers start; do echo "== $$name"; $(BIN)/python bench/$$name.py || exit 1; done

fuzz: $(VENV)/.dev ## some hundred hostile calls of the commands; their score goes to results/fuzz.json
	$(BIN)/python bench/fuzz.py

study: $(VENV)/.dev ## run a study and store its outputs and numbers: make study NAME=mnist (hours for some; it goes on where it was stopped)
	@ls nbs/*_$(NAME).ipynb >/dev/null 2>&1 || { echo 'Which study? make study NAME=mnist'; exit 2; }
	VAE_NBDEV_STUDY=run $(BIN)/python tools/run.py nbs/*_$(NAME).ipynb --flags "slow data"

hooks: $(VENV)/.dev ## once: let git merge notebooks cell by cell, and Jupyter clean them when it saves
	$(BIN)/nbdev_install_hooks
	git config merge.nbdev-merge.driver '"$(abspath $(BIN))/nbdev_merge" %O %A %B %P'

docs: $(VENV)/.dev ## render the site into _docs
	@command -v quarto >/dev/null || { echo 'The site is rendered by Quarto 1.7.34: https://github.com/quarto-dev/quarto-cli/releases/tag/v1.7.34'; exit 1; }
	$(BIN)/python tools/readme.py
	$(BIN)/python tools/play.py
	touch README.md # or nbdev_docs would write its own
	PYTHONPATH=tools $(BIN)/nbdev_docs
	$(BIN)/python tools/rendered.py _docs

clean: ## remove the virtual environment and everything built
	rm -rf $(VENV) build dist _docs _proc *.egg-info

.PHONY: help demo test prepare run bench fuzz study hooks docs clean
