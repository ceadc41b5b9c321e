"""Devices and processes: meshes, rules, placement, hardware."""
