"""Nouns and contracts: what parts, runs and data sets are. Imports PyTorch and nothing else of limbeck."""
