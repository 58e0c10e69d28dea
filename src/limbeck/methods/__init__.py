"""One file per paper: its algorithm as a composition of parts."""
