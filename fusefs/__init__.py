"""The driver: a view shown through the kernel. pyfuse3 and trio live here and nowhere else."""
