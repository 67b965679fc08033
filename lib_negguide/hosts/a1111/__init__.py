"""AUTOMATIC1111's WebUI; with ``webui/`` the only place that imports ``modules.*``."""
