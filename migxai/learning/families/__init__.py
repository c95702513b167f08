"""How each kind of network is built and cut, with torch; the entries of `migxai.learning.backbones` load these."""
