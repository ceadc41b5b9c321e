"""Reports on the files that runs leave: pages, pictures, health."""
