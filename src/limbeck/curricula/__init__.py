"""What is learnt when, and for how long."""
