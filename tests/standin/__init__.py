"""A small stand-in of AUTOMATIC1111's WebUI with the small model behind it: ``python -m tests.standin --port 7862``."""
