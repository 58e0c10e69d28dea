"""Speed of the product's steps beside a plain oracle, side by side in one run: ``python -m benchmarks.speed.run``."""
