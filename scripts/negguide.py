"""NegGuide for AUTOMATIC1111's WebUI: registers the script and its callbacks, nothing else."""

from lib_negguide.webui.callbacks import register
from lib_negguide.webui.script import NegGuideScript  # noqa: F401  (the host registers Script classes that it finds here)

register()
