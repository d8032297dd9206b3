# Orchid's commands. Each installs what it needs and is missing, on Debian and Ubuntu; elsewhere it says what that is.

export API HEADER ALLOW_PRIVATE
TARGET = $(or $(CARGO_TARGET_DIR),target)
ORCHID = $(TARGET)/debug/orchid

.PHONY: help demo dev test lint

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

.PHONY: build-demo
build-demo:
	@.ci/install demo
	@cargo build --locked --workspace
