"""What does the cells of a benchmark: processes of this machine, or jobs of a Slurm cluster."""
