"""The small world: a Stable-Diffusion-1-shaped model trained on pictures that it draws itself."""
