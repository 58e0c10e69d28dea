"""A sample of a package that brings a method and a part to limbeck."""
