"""BIDS in, BIDS out: what is to be processed, how outputs are named and written, and how they are read back."""
