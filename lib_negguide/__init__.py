"""NegGuide: control over what a picture must not show.

The core (this package's top level) knows tensors and numbers, never a host;
``lib_negguide.hosts`` and ``lib_negguide.webui`` import it, not the reverse.
"""

__version__ = "0.1.0"
