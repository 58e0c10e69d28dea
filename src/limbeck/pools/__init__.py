"""Which network looks, and how it changes."""
