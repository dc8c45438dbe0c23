"""What an operator sees: metrics, the decision log, and the log of everything else."""
