"""What a classifier looks at: class activation and attention, back in the brain, by region."""
