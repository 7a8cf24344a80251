"""What a mount shows, by inode number. Synchronous; knows nothing of pyfuse3."""
