# Every recipe is one line that can be typed without make.
.PHONY: check test test-slow test-gpu format lint types imports docs bench bench-trajectory campaign results

check: lint types imports test

test:
	pytest

test-slow:
	pytest -m slow

test-gpu:
	pytest -m gpu

format:
	ruff check --fix . && ruff format .

lint:
	ruff format --check . && ruff check .

types:
	mypy

imports:
	lint-imports

docs:
	mkdocs build --strict

# Speed beside a plain oracle, a quarter of an hour; make bench QUICK=1 for three minutes.
bench:
	python -m benchmarks.speed.run $(if $(QUICK),--quick)

# Memory of trajectory matching over the student's steps, some minutes.
bench-trajectory:
	python -m benchmarks.memory.trajectory

# The next unmeasured cells of the papers' tables, as many as fit: make campaign BUDGET=minutes (benchmarks/README.md).
campaign:
	python -m benchmarks.campaign.run --budget $(or $(BUDGET),60) $(FLAGS)

# RESULTS.md and its pictures from the records of campaigns.
results:
	python -m benchmarks.campaign.results
