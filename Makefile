# make demo    retrain the demo model, all six stages, and say how to ask it a question
# make test    run the tests
# make lint    ruff, mypy on the domain, the import contract
# make bench   the figures that the README claims
# make clean   remove what the demo made; make distclean also removes .venv

.PHONY: demo test lint bench clean distclean
.DELETE_ON_ERROR:

bin := .venv/bin
inputs := pyproject.toml constraints.txt scripts/set_up.sh

demo: .venv/demo.stamp
	@$(bin)/podsquad run --profile demo

test: .venv/test.stamp
	@$(bin)/python -m pytest

lint: .venv/test.stamp
	@$(bin)/ruff check .
	@$(bin)/ruff format --check .
	@$(bin)/mypy
	@$(bin)/python -m pytest tests/test_imports.py

bench: .venv/test.stamp
	@$(bin)/python -m benchmarks

.venv/demo.stamp: $(inputs)
	@scripts/set_up.sh torch
	@touch $@

.venv/test.stamp: $(inputs)
	@scripts/set_up.sh torch,test
	@touch $@ .venv/demo.stamp

clean:
	rm -rf .podsquad

distclean: clean
	rm -rf .venv
