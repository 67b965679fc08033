"""The embedded host: samples with diffusers' networks, without a WebUI."""
