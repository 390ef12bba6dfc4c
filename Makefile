# Every target is a task of pixi.toml. With pixi on PATH it runs there; without, in .venv, which
# scripts/bootstrap makes and keeps up to date. Pass words on with ARGS: make test ARGS="projects -k pose"
ifneq ($(shell command -v pixi 2>/dev/null),)
task = pixi run $(1) $(ARGS)
else
task = scripts/bootstrap && .venv/bin/python scripts/task.py $(1) $(ARGS)
endif

.DEFAULT_GOAL := help
.PHONY: help setup run demo test lint format lock bench clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Install everything and check it
	@$(call task,validate-env)

run: ## Serve the pose API
	@$(call task,pose-api)

demo: ## Analyse the bundled sample
	@$(call task,demo)

test: ## Run the tests
	@$(call task,test)

lint: ## Lint, format check, types, lock check
	@$(call task,lint)

format: ## Format the code
	@$(call task,format)

lock: ## Rewrite config/requirements/*.txt (ARGS="--upgrade" for newer releases)
	@$(call task,lock)

bench: ## Run the benchmarks
	@$(call task,bench)

clean: ## Remove environments, caches and reports
	rm -rf .venv .pixi .bootstrap.lock .cache .pytest_cache .ruff_cache .coverage htmlcov out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
