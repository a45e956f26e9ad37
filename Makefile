# The project's front door. Each verb installs what it needs and says what it does; the second time is fast.

.PHONY: help demo test bench torture

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

demo: ## a live Python session over a sample database, as the agent has it (first time: about 3 minutes)
	@sandbox-image/environment >/dev/null
	@cargo build --quiet --locked --package cataloger
	@docs/examples/session target/debug/cataloger

test: ## all checks and tests (first time: about 20 minutes)
	@tests/run

bench: ## figures and ratios of the sandbox (about 3 minutes)
	@cargo build --quiet --locked --release --package cataloger-tests --bins
	@target/release/bench

torture: ## 10,000 calls over streams that are cut at random (about 2 minutes)
	@cargo build --quiet --locked --package cataloger-tests --bin torture
	@target/debug/torture
