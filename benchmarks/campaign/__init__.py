"""The papers' tables as cells, a campaign that measures them, and the ledger of what was measured."""
