"""What runs left, for people: reads files only."""
