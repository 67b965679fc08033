"""NegGuide for AUTOMATIC1111's WebUI: registers the script and its callbacks, nothing else."""

from lib_negguide import hosts

hosts.detect()  # elsewhere the imports below would fail without saying why

from lib_negguide.webui.callbacks import register  # noqa: E402
from lib_negguide.webui.script import NegGuideScript  # noqa: E402, F401  (the host registers Script classes that it finds here)

register()
