"""What runs left, for people: pages, pictures, health; reads files only."""
