# What people do with this repository. `make help` lists it.

SHELL := /bin/sh
ARGS ?=
# What builds the demo: in CI it has the programs that were tested.
BUILD ?= build-demo
# Where terraform and tofu are: the machine's own, or made under target/ where they are needed; and
# what runs must be able to read for one that was made there.
TOOLS = PATH="$$(infra/tools.sh $@ $(ARGS))" && export PATH && \
	GANTRY_RUNS_MAY_READ="$$(infra/terraform/setup.sh --needs):$$GANTRY_RUNS_MAY_READ" && \
	export GANTRY_RUNS_MAY_READ &&

.PHONY: help build build-demo programs demo run test test-aws test-plans test-stops fuzz-api check check-aws deploy destroy bench fake-gitlab

help: ## List the targets.
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

build:
	cargo build --locked -p gantry-local -p gantry-runner

# The story has objects outside of any cloud, of the provider for tests.
build-demo:
	cargo build --locked -p gantry-local -p gantry-runner -p gantry-test-provider

demo: $(BUILD) ## Show the whole story on this machine. ARGS="--once --tool=opentofu" ends after it.
	$(TOOLS) target/debug/gantry demo $(ARGS)

run: build ## Start Gantry for your own GitLab. ARGS=--help lists the settings.
	$(TOOLS) target/debug/gantry run $(ARGS)

fake-gitlab: ## Start the demo's GitLab alone.
	cargo run --locked -p gantry-fake-gitlab -- $(ARGS)

# With the tests: what they are built on has features that programs alone do not ask for, and
# would be built twice.
programs:
	cargo build --locked --workspace --bins --tests

test: programs ## Run all tests.
	$(TOOLS) infra/test.sh $(ARGS)

test-aws: programs ## Run the tests of the Lambda functions on stand-ins for AWS alone.
	$(TOOLS) cargo test --locked --workspace --test aws $(ARGS)

test-plans: programs ## Compare what is shown of 2,000 random plans with what they say.
	$(TOOLS) GANTRY_PLANS=670 cargo test --locked --workspace --test suite plans:: $(ARGS)

STOPS := --locked --profile stops -p gantry-runner -p gantry-scenarios -p gantry-test-provider
test-stops: ## Tell each story with a process that ends at each place, and GitLab in all its moods.
	cargo build $(STOPS) --bins
	$(TOOLS) GANTRY_STOPS=all GANTRY_MOODS=all \
		cargo test $(STOPS) --test stories $(if $(findstring --,$(ARGS)),$(ARGS),$(ARGS) -- --test-threads=5)

fuzz-api: build-demo ## Send 22,000 random requests to the API of the demo.
	$(TOOLS) infra/schemathesis/run.sh $(ARGS)

check: ## Format and lint, as CI does.
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

check-aws: ## Lint the SAM template, and build everything that it deploys.
	infra/aws/check.sh

deploy: ## Build, and deploy to AWS with your credentials. PARAMETERS="Runners=20 AlarmEmail=…"
	infra/aws/deploy.sh $(ARGS)

destroy: ## Remove it from AWS. The records stay; DATA=yes removes them too.
	"$$(infra/aws/setup.sh)/python" infra/aws/destroy.py $${STACK:+--stack "$$STACK"} $(if $(filter yes,$(DATA)),--data) $(ARGS)

bench: ## Measure the numbers that we hold. ARGS="--atlantis --baseline DIR" compares.
	infra/bench/run.sh $(ARGS)
