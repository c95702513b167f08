"""How nipype runs workflows and jobs: its process pool and SLURM plugin made safe, and what came of a run."""
