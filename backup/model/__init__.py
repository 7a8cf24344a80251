"""Values only: ids, entries, selectors, errors. Imports nothing else of the engine."""
