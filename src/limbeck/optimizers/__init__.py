"""How stored pixels are updated."""
