"""Continual learning: classes come in steps, and what is kept of earlier ones is a distilled set."""
