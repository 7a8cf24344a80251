"""What other programs call. `backup` itself offers all public names; `docs/library.md` shows them at work."""
