"""The live tree: ordered walk, attributes, sparse files, exclude rules. Never follows a symlink."""
