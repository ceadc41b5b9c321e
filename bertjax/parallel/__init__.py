"""Devices and processes: meshes, partitioning rules, placement, hardware."""
