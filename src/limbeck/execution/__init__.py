"""Where independent tasks run."""

from __future__ import annotations

from limbeck.execution.processes import Processes as Processes
