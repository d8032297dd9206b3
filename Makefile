# Orchid's commands. On Debian and Ubuntu each installs what it needs; elsewhere it lists what is
# missing.

# A Rust that .ci/install has just installed is not in the caller's PATH yet.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

TARGET = $(or $(CARGO_TARGET_DIR),target)
ORCHID = $(TARGET)/debug/orchid

.PHONY: help demo dev test lint bench bench-full

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Arguments of `make demo` reach the recipe as environment variables, so that the shell does not
# interpret a `&` in a url.
demo: build-demo ## start everything, run a real plan, show its messages (API=https://… polls that API)
	@$(ORCHID) demo $(if $(API),--api "$$API" $(if $(HEADER),--header "$$HEADER")) \
		$(if $(ALLOW_PRIVATE),--allow-private "$$ALLOW_PRIVATE")

dev: build-demo ## start everything and keep it running
	@$(ORCHID) dev

test: ## run everything that must pass
	@.ci/install test
	@cargo build --locked --workspace
	@.ci/test

lint: ## check formatting, clippy, protos and scripts
	@.ci/install lint
	@.ci/lint

bench: build-bench ## run short benchmarks (ONLY=pages runs one part)
	@$(TARGET)/release/orchid-bench $(ONLY)

bench-full: build-bench ## run the benchmarks at full size and write docs/benchmarks.md
	@$(TARGET)/release/orchid-bench --full --docs docs/benchmarks.md

.PHONY: build-bench
build-bench:
	@.ci/install demo
	@cargo build --locked --release --workspace

.PHONY: build-demo
build-demo:
	@.ci/install demo
	@cargo build --locked --workspace
