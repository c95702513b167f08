"""nipype interfaces: each adapts files to one step of pure functions, and holds no numbers of its own."""
