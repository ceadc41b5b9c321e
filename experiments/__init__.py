"""What was measured with bertjax, and how to measure it again."""
