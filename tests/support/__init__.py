"""What tests share: trees to back up, an exact comparer, and the real command as a second process."""
