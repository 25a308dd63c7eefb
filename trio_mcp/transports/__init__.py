"""Layer 4: message streams that are not HTTP."""
