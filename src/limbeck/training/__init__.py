"""Supervised training of a network, and what trained networks see in real images."""
