"""Memory of streamed data, measured: ``python -m benchmarks.memory.streaming``."""
