"""LaVIT's network: encoder, selector, merger, quantizer and feature decoders."""
