"""How stored pixels become training images."""
