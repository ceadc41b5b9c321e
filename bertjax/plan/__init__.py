"""What the plan stands on: slices to compile for, and programs read."""
