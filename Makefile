# Orchid's commands. Each installs what it needs and is missing, on Debian and Ubuntu; elsewhere it says what that is.

TARGET = $(or $(CARGO_TARGET_DIR),target)
ORCHID = $(TARGET)/debug/orchid

.PHONY: help demo dev test lint bench bench-full

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# What is typed after `make demo` reaches the recipe by its environment, so that no `&` of a url is the shell's.
demo: build-demo ## start everything, run a real plan, show its messages (API=https://… polls that instead)
	@$(ORCHID) demo $(if $(API),--api "$$API" $(if $(HEADER),--header "$$HEADER")) \
		$(if $(ALLOW_PRIVATE),--allow-private "$$ALLOW_PRIVATE")

dev: build-demo ## start everything and leave it running
	@$(ORCHID) dev

test: ## run everything that must pass
	@.ci/install test
	@cargo build --locked --workspace
	@.ci/test

lint: ## formatting, clippy, protos, scripts
	@.ci/install lint
	@.ci/lint

bench: build-bench ## measure what Orchid costs, in short (ONLY=pages measures one part)
	@$(TARGET)/release/orchid-bench $(ONLY)

bench-full: build-bench ## the same at full size; writes docs/benchmarks.md
	@$(TARGET)/release/orchid-bench --full --docs docs/benchmarks.md

.PHONY: build-bench
build-bench:
	@.ci/install demo
	@cargo build --locked --release --workspace

.PHONY: build-demo
build-demo:
	@.ci/install demo
	@cargo build --locked --workspace
