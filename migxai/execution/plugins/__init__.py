"""nipype's plugins, made safe."""
