"""Which real images are compared now."""
