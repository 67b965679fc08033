"""What the one running job is doing, and the requests to stop it."""

import datetime
import time


class State:
    def __init__(self):
        self.begin("")
        self.end()

    def begin(self, job="(unknown)"):
        self.job, self.job_no, self.job_count = job, 0, -1
        self.processing_has_refined_job_count = False
        self.job_timestamp = datetime.datetime.now().strftime("%Y%m%d%H%M%S")
        self.sampling_step = self.sampling_steps = self.id_live_preview = 0
        self.time_start = time.time()
        self.current_latent = self.current_image = self.textinfo = None
        self.skipped = self.interrupted = self.stopping_generation = False

    def end(self):
        self.job, self.job_count = "", 0

    def skip(self):
        self.skipped = True

    def interrupt(self):
        self.interrupted = True

    def stop_generating(self):
        self.stopping_generation = True

    def nextjob(self):
        self.job_no += 1
        self.sampling_step = 0

    def assign_current_image(self, image):
        self.current_image = image
        self.id_live_preview += 1

    def set_current_image(self):
        from modules import sd_samplers_common, shared

        if shared.opts.live_previews_enable and shared.opts.show_progress_every_n_steps > 0 and self.current_latent is not None:
            self.assign_current_image(sd_samplers_common.sample_to_image(self.current_latent))

    def dict(self):
        names = ("skipped", "interrupted", "stopping_generation", "job", "job_count", "job_timestamp", "job_no",
                 "sampling_step", "sampling_steps")
        return {name: getattr(self, name) for name in names}
