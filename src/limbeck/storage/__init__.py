"""Files on disk: atomic writes, trees of tensors, the directory of a distilled set."""
