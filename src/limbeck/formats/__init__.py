"""Distilled sets in and out."""
