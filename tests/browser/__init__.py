"""Tests that click through the page, of the stand-in or of a real WebUI."""
