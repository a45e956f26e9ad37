# The project's front door. Each verb installs what it needs and says what it does; the second time is fast.

# Always the whole workspace is built: part of it would have its dependencies built once more, with other features.

.PHONY: help compiler demo session test images bench torture killsweep cluster cluster-down deploy

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

# What cargo links with. Scripts that build see to it themselves.
compiler:
	@tests/prepare --compiler

demo: compiler ## a sample database, cataloged twice without a key or a network (first time: about 8 minutes)
	@sandbox-image/environment >/dev/null
	@cargo build --quiet --locked --workspace --bins
	@docs/examples/demo target/debug/cataloger $(CURDIR)/target/demo

session: compiler ## a live Python session over a sample database, as the agent has it
	@sandbox-image/environment >/dev/null
	@cargo build --quiet --locked --workspace --bins
	@docs/examples/session target/debug/cataloger

test: ## all checks and tests (first time: about an hour)
	@tests/run

images: ## the images of the sandbox and of the operator, and what is in them, in target/images (first time: about 23 minutes)
	@image=$$(sandbox-image/build --image | tail -n 1) && \
	  sandbox-image/sbom "$$image" target/images/cataloger-sandbox.spdx.json && printf '%s\n' "$$image"
	@image=$$(operator/image --image | tail -n 1) && \
	  sandbox-image/sbom "$$image" target/images/cataloger-operator.spdx.json && printf '%s\n' "$$image"

bench: compiler ## figures and ratios of the sandbox, of runs, of large catalogs and of the operator (about 25 minutes, half of it the build)
	@cargo build --quiet --locked --release --workspace --bins
	@target/release/bench

torture: compiler ## 10,000 calls over streams that are cut at random, and 2,000 over exec (about 8 minutes)
	@cargo build --quiet --locked --workspace --bins
	@target/debug/torture
	@target/debug/torture --pods --calls 2000

killsweep: compiler ## the operator killed at every write of a run, before and after it, and 300 random faults over 30 runs (about 35 minutes)
	@cargo build --quiet --locked --workspace --bins
	@target/debug/killsweep
	@target/debug/killsweep --faults 300 --runs 30

cluster: ## a Kubernetes for the tests, on this machine; prints the path of its KUBECONFIG (first time: about 8 minutes)
	@tests/cluster/up

deploy: ## the operator of this checkout in that Kubernetes, with a sample database to catalog (first time: about 20 minutes)
	@tests/deploy

cluster-down: ## takes that Kubernetes down without a trace
	@tests/cluster/down
