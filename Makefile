# make demo    retrain the demo model, all six stages, and say how to ask it a question
# make test    run the tests, side by side on up to four cores: about 25 minutes on two
# make ipu-env make .venv-ipu, the environment of the IPU program; make test-ipu runs its tests, over the emulation
# make lint    ruff, mypy on the domain, the import contract
# make up      start server (UI), worker and deployments on this machine; make up PORT=4201 WEBHOOK=block
# make down    stop them; make deploy registers the deployments again, make worker starts a worker in the foreground
# make test-prefect   the tests against a genuine server and worker, and in a browser (Debian's chromium)
# make screenshots    make the pictures in docs/images anew, from a genuine run
# make crash   the long crash tests: 200 kills at random instants, half an hour on two idle cores
# make hostile ten times as many hostile inputs as make test has, other ones each time; ten minutes
# make bench   the figures that the README claims
# make clean   remove what the demo made; make distclean also removes .venv and .venv-ipu

.PHONY: demo test test-prefect screenshots lint up down deploy worker automations crash hostile bench clean distclean ipu-env test-ipu
.DELETE_ON_ERROR:

bin := .venv/bin
# A file's tests stay together, with what they share; four cores at most, for each worker has a Prefect server of its own.
side_by_side := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder
inputs := pyproject.toml constraints.txt scripts/set_up.sh scripts/find_python.sh

demo: .venv/demo.stamp
	@$(bin)/podsquad run --profile demo

test: .venv/test.stamp
	@$(bin)/python -m pytest $(side_by_side)

ipu-env: .venv-ipu/made.stamp

test-ipu: .venv/test.stamp .venv-ipu/made.stamp
	@$(bin)/python -m pytest $(side_by_side) -m ipu

test-prefect: .venv/test.stamp
	@$(bin)/python -m pytest -m prefect_live

screenshots: .venv/test.stamp
	@PODSQUAD_PICTURES=docs/images $(bin)/python -m pytest -m prefect_live tests/browser/test_night.py

up: .venv/demo.stamp
	@$(bin)/python -m deployments.up --port "$(PORT)" --webhook "$(WEBHOOK)"

down: .venv/demo.stamp
	@$(bin)/python -m deployments.up --down

deploy: .venv/demo.stamp
	@$(bin)/python -m deployments.register

worker: .venv/demo.stamp
	@$(bin)/python -m deployments.worker

automations: .venv/demo.stamp
	@$(bin)/python -m deployments.automations --webhook "$(WEBHOOK)"

crash: .venv/test.stamp
	@$(bin)/python -m pytest -m crash tests/crash

hostile: .venv/test.stamp
	@PODSQUAD_HOSTILE_TIMES=10 $(bin)/python -m pytest tests/hostile

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

.venv-ipu/made.stamp: constraints-ipu.txt scripts/set_up_ipu.sh scripts/find_python.sh
	@scripts/set_up_ipu.sh
	@touch $@

clean:
	rm -rf .podsquad

distclean: clean
	rm -rf .venv .venv-ipu
