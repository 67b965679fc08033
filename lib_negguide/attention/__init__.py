"""Cross-attention looked at while a model runs: probes, maps of words, and what they say about a picture."""
