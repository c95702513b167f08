"""What scores are worth: comparisons of models, permutation, learning curves, cohort statistics."""
