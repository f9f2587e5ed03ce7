# Everything a person types. `make` alone lists the targets.

PY := .venv/bin/python
export PYTHONDONTWRITEBYTECODE := 1

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: setup setup-test
setup: ## Install what the demo needs (Debian packages with apt, .venv from the lock)
	@lab/bootstrap demo
setup-test: ## The same, and what the tests need
	@lab/bootstrap test

.PHONY: demo demo-ui demo-clean
demo: setup ## Move three real machines from a local libvirtd and prove each one
	@$(PY) -m lab.demo
demo-ui: ## Look at the demo's runs in the Prefect UI, until Ctrl-C
	@$(PY) -m flows ui --config build/demo/kubeferry.yaml
demo-clean: ## Remove everything the demo made: machines, sockets, processes, files
	@if [ -x $(PY) ]; then $(PY) -m lab.demo --clean; fi

.PHONY: check
check: setup-test ## Style, types, import contracts, documents, wheel content (under a minute)
	@lab/check

.PHONY: test test-slow
test: setup-test ## The tests (under ten minutes), and the ten that take longest
	@$(PY) -m pytest -q -n 4 --dist loadgroup --durations=10 -m "not slow and not cluster"
test-slow: setup-test ## The slow tests with real machines: kill -9 anywhere, every guest
	@$(PY) -m pytest -q -n 2 --dist loadgroup --durations=10 -m "slow and not cluster"

.PHONY: setup-cluster lab-up lab-down lab-status test-cluster
setup-cluster: ## Install what the lab cluster needs, too
	@lab/bootstrap cluster
lab-up: setup-cluster ## A Kubernetes node in namespaces of its own; with KUBEFERRY_LAB_KUBEVIRT, KubeVirt and CDI on it
	@$(PY) -m lab.cluster up
lab-down: ## End the lab cluster: processes, namespaces, devices, links, kernel settings
	@if [ -x $(PY) ]; then $(PY) -m lab.cluster down; fi
lab-status: ## What runs of the lab cluster
	@$(PY) -m lab.cluster status
test-cluster: $(if $(KUBECONFIG),setup-test,lab-up) ## The tests on the lab cluster; with KUBECONFIG, those that can on yours
	@$(PY) -m pytest -q --durations=25 -m cluster tests/cluster tests/contract

.PHONY: image
image: setup-test ## kubeferry's own container image, on a base of Debian packages: no registry is needed
	@$(PY) -m lab.product_images

.PHONY: bench
bench: setup-test ## Copy speed against qemu-img and nbdcopy, side by side, as ratios
	@$(PY) -m bench

.PHONY: bench-wave
bench-wave: setup-test ## What the control of a wave costs, with workers and servers killed in the middle: MACHINES=1000
	@$(PY) -m bench.waves $(MACHINES)

.PHONY: soak
soak: setup-test ## Kill, break, fill and lie at random, and look for a broken promise: HOURS=2, SEED=, KIND=, CASES=
	@$(PY) -m soak $(if $(HOURS),--hours $(HOURS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	    $(if $(KIND),--kind $(KIND)) $(if $(CASES),--cases $(CASES))

.PHONY: lock
lock: ## Renew requirements.txt from pyproject.toml, and the locks of the two images beside it
	@uv pip compile -q --python-version 3.11 --all-extras --generate-hashes --no-emit-index-url --custom-compile-command "make lock" pyproject.toml -o requirements.txt
	@uv pip compile -q --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --constraint requirements.txt deploy/mover/requirements.in -o deploy/mover/requirements.txt
	@uv pip compile -q --python-version 3.11 --extra vmware --extra aws --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --constraint requirements.txt pyproject.toml -o deploy/control-plane/requirements.txt
