"""The list of samplers, by name."""

from modules import sd_samplers_kdiffusion, sd_samplers_timesteps, sd_schedulers, shared
from modules.sd_samplers_common import SamplerData


def _data(kind, name, function, aliases, options):
    data = SamplerData(name, lambda model: kind(function, data), aliases, options)
    return data


all_samplers = [_data(kind, *row) for kind, rows in (
    (sd_samplers_kdiffusion.KDiffusionSampler, sd_samplers_kdiffusion.SAMPLERS),
    (sd_samplers_timesteps.CompVisSampler, sd_samplers_timesteps.SAMPLERS)) for row in rows]
samplers = samplers_for_img2img = all_samplers
all_samplers_map = {sampler.name: sampler for sampler in all_samplers}
samplers_map = {alias.lower(): sampler.name for sampler in all_samplers for alias in (sampler.name, *sampler.aliases)}


def visible_samplers():
    return [sampler for sampler in samplers if sampler.name not in shared.opts.hide_samplers]


def find_sampler_config(name):
    return all_samplers_map.get(name) if name is not None else all_samplers[0]


def create_sampler(name, model):
    return find_sampler_config(name).constructor(model)


def get_sampler_and_scheduler(sampler_name, scheduler_name, *, convert_automatic=True):
    """Old names carry the scheduler at their end ("DPM++ 2M Karras"); the default scheduler is called Automatic."""
    name, found = sampler_name or all_samplers[0].name, sd_schedulers.schedulers_map.get(scheduler_name, sd_schedulers.schedulers[0])
    for scheduler in sd_schedulers.schedulers:
        for ending in (scheduler.label, scheduler.name, *(scheduler.aliases or [])):
            if name.endswith(" " + ending):
                name, found = name[: -len(ending) - 1], scheduler
    sampler = all_samplers_map.get(name, all_samplers[0])
    if convert_automatic and sampler.options.get("scheduler") == found.name:
        found = sd_schedulers.schedulers[0]
    return sampler.name, found.label


def get_sampler_from_infotext(d):
    return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[0]


def get_scheduler_from_infotext(d):
    return get_sampler_and_scheduler(d.get("Sampler"), d.get("Schedule type"))[1]
