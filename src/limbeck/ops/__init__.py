"""Pure tensor functions: the formulae of the methods, without state, files or hidden randomness.

Everything random enters as an argument; images are ``[B, C, H, W]``; any floating dtype and device will do.
"""

from __future__ import annotations
