"""nipype workflows: ``init_*_wf`` functions that only wire interfaces together."""
