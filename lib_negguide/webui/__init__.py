"""The WebUI side: accordion, API, infotext, X/Y/Z axes, presets and settings page."""
