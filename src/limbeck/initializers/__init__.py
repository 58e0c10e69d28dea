"""Where synthetic images start."""
