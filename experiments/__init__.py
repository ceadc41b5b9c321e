"""Measurements of bertjax, and the programs to repeat them."""
