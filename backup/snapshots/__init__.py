"""Trees, manifests and the catalogue of snapshots."""
