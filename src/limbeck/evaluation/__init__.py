"""Training fresh networks on a distilled set, and the protocols for it."""
