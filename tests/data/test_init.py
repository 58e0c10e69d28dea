from __future__ import annotations

import subprocess
import sys

import limbeck.data


def test_public_names_exist() -> None:
    assert all(hasattr(limbeck.data, name) for name in limbeck.data.__all__)
    assert list(limbeck.data.__all__) == sorted(limbeck.data.__all__, key=lambda n: (not n.isupper(), n.islower(), n))


def test_nothing_heavy_is_imported() -> None:
    heavy = ("torchvision", "sklearn", "pyarrow", "PIL", "safetensors", "scipy")
    code = f"import sys, limbeck.data; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
