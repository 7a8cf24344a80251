"""What must not change: alarms, and what is kept of the last backup."""
