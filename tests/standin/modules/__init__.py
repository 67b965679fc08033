"""The interfaces of AUTOMATIC1111's WebUI that extensions use, re-made small for tests.

Written from the host's observable behaviour; where this and the real host
disagree, the real host is right.
"""
