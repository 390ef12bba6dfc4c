# Every target is a task of pixi.toml. With pixi on PATH it runs there; without, in .venv, which
# scripts/bootstrap makes and keeps up to date. Pass words on with ARGS: make test ARGS="projects -k pose"
# scripts/switch_env.sh keeps a chosen accelerator in .cache/environment.mk (POSE_SET ?= cpu | cuda | mps).
-include .cache/environment.mk
ifneq ($(shell command -v pixi 2>/dev/null),)
task = pixi run $(if $(POSE_SET),-e $(POSE_SET)) $(1) $(ARGS)
else
task = scripts/bootstrap && .venv/bin/python scripts/task.py $(1) $(ARGS)
endif

.DEFAULT_GOAL := help
.PHONY: help setup run demo test lint format bench accuracy lock check-lock lab pose-api vram-api detect-gpu download-models clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' Makefile

setup: ## Install everything and check it
	@$(call task,validate-env)

run: pose-api ## Start the API and the live page on http://127.0.0.1:8001

demo: ## Analyse the built-in clip; results lie in out/demo
	@$(call task,demo)

test: ## Run every test with coverage (ARGS go to pytest)
	@$(call task,test)

lint: ## Lint, format check, types, import rules, lock check
	@$(call task,lint)

format: ## Sort the imports and format the code
	@$(call task,format)

bench: ## Run the benchmarks and print their table
	@$(call task,bench)

accuracy: ## Measure accuracy and rewrite docs/ACCURACY.md
	@$(call task,accuracy)

lock: ## Rewrite config/requirements/*.txt (ARGS="--upgrade" for newer releases)
	@$(call task,lock)

check-lock: ## Fail if manifest, lock, requirements and packages disagree
	@$(call task,check-lock)

lab: ## Start JupyterLab
	@$(call task,lab)

pose-api: ## Serve the pose API on 127.0.0.1:8001 (ARGS="HOST PORT")
	@$(call task,pose-api)

vram-api: ## Serve the GPU memory API on 127.0.0.1:8002 (ARGS="HOST PORT")
	@$(call task,vram-api)

detect-gpu: ## Write what this machine offers to config/machine.yml
	@$(call task,detect-gpu)

download-models: ## Fetch model weights (ARGS="--list" shows them)
	@$(call task,download-models)

clean: ## Remove environments, caches and results
	rm -rf .venv .pixi .bootstrap.lock .cache .import_linter_cache .pytest_cache .ruff_cache .coverage .coverage.* htmlcov out
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
