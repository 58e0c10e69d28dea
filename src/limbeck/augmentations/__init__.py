"""Transformations shared by, or private to, training images."""
