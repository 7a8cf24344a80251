"""What scripts/bench is made of. Standard library only: programs are measured from outside."""
