"""How an audit scales with samples, dimensions and layers."""
