"""Loads SD1.x and SDXL checkpoints without network: one file in the original layout, or a diffusers folder.

The conversion from the original layout is diffusers' own (``single_file_utils``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

from lib_negguide.errors import ModelError
from lib_negguide.hosts.embedded.text import Condition, Encoder, TextEncoder, tokenizer_of

UNET, TEXT_SD1 = "model.diffusion_model.", "cond_stage_model.transformer."
TEXT_XL1, TEXT_XL2 = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
BETAS = (0.00085, 0.012)

# (a key's beginning, what such a checkpoint is): kinds that are told apart to be refused by name.
OTHERS = (
    ("cond_stage_model.model.", "Stable Diffusion 2"),
    ("conditioner.embedders.0.model.", "an SDXL refiner"),
    ("model.diffusion_model.joint_blocks.", "Stable Diffusion 3"),
    ("model.diffusion_model.double_blocks.", "Flux"),
    ("double_blocks.", "Flux"),
    ("lora_", "a LoRA"),
    ("control_model.", "a ControlNet"),
)

_VAE_PARAMS = {"in_channels": 3, "out_ch": 3, "ch": 128, "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "z_channels": 4}
STANDARD: Dict[str, Dict[str, Any]] = {
    "sd1": {
        "scale_factor": 0.18215,
        "unet_config": {"params": {
            "in_channels": 4, "out_channels": 4, "model_channels": 320, "attention_resolutions": [4, 2, 1],
            "num_res_blocks": 2, "channel_mult": [1, 2, 4, 4], "num_heads": 8, "transformer_depth": 1, "context_dim": 768}},
        "first_stage_config": {"params": {"ddconfig": _VAE_PARAMS}},
    },
    "sdxl": {
        "scale_factor": 0.13025,
        "network_config": {"params": {
            "adm_in_channels": 2816, "num_classes": "sequential", "in_channels": 4, "out_channels": 4,
            "model_channels": 320, "attention_resolutions": [4, 2], "num_res_blocks": 2, "channel_mult": [1, 2, 4],
            "num_head_channels": 64, "use_linear_in_transformer": True, "transformer_depth": [1, 2, 10],
            "context_dim": 2048}},
        "first_stage_config": {"params": {"ddconfig": _VAE_PARAMS}},
    },
}


@dataclass
class Model:
    """A loaded checkpoint. ``kind``: sd1 or sdxl; ``prediction``: eps or v; ``alphas_cumprod`` (1000,), float32, on the CPU."""

    unet: torch.nn.Module
    vae: torch.nn.Module
    text: TextEncoder
    kind: str
    prediction: str
    alphas_cumprod: torch.Tensor
    device: torch.device
    dtype: torch.dtype
    name: str = ""

    def encode(self, texts, negative: bool = False) -> Condition:
        """See :meth:`TextEncoder.encode`."""
        return self.text.encode(texts, negative)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (B, 4, h, w) to pictures (B, 3, H, W), float32 in 0..1, on the CPU; one at a time, for memory's sake."""
        latents = latents.to(self.device, torch.float32) / self.vae.config.scaling_factor
        pixels = torch.cat([self.vae.decode(one, return_dict=False)[0].float().cpu() for one in latents.split(1)])
        return ((pixels + 1.0) / 2.0).clamp(0.0, 1.0)

    @torch.no_grad()
    def latents(self, pictures: torch.Tensor) -> torch.Tensor:
        """Pictures (B, 3, H, W), floats in 0..1, to latents (B, 4, h, w), float32: the mean of what the VAE says, one at a time.

        (The WebUI draws from that distribution, whose deviation is small, with torch's global generator.)
        """
        pixels = pictures.to(self.device, torch.float32) * 2.0 - 1.0
        means = [self.vae.encode(one).latent_dist.mean for one in pixels.split(1)]
        return torch.cat(means) * self.vae.config.scaling_factor


def load(path, device: str = "cpu", dtype: Optional[torch.dtype] = None) -> Model:
    """Load a checkpoint file (its yaml, where it lies beside it, says the shapes) or a diffusers folder.

    ``dtype`` of the UNet: float32 on the CPU and float16 elsewhere unless given; text
    encoders and VAE stay in float32. Raises :class:`ModelError` with one clear line.
    """
    path = Path(path)
    place = torch.device(device)
    dtype = dtype or (torch.float32 if place.type == "cpu" else torch.float16)
    if path.is_dir():
        return _load_folder(path, place, dtype)
    if not path.is_file():
        raise ModelError(f"NegGuide: no model at {path}")
    return _load_file(path, place, dtype)


def _load_file(path: Path, device: torch.device, dtype: torch.dtype) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as ldm

    state = _read(path)
    kind = _kind(path, state)
    params, root = _params(path, kind, state)
    original = {"model": {"params": params}}
    network = (params.get("unet_config") or params["network_config"])["params"]
    if network["in_channels"] != 4:
        raise ModelError(f"NegGuide: {path.name} takes {network['in_channels']} channels (inpainting or pix2pix), which is not supported")
    embedders = params.get("conditioner_config", {}).get("params", {}).get("emb_models", [])
    unet_config = ldm.create_unet_diffusers_config_from_ldm(original, state)
    if kind == "sdxl":
        outdim = embedders[-1]["params"]["outdim"] if embedders else 256
        unet_config.update(class_embed_type=None, addition_embed_type="text_time", addition_time_embed_dim=outdim)
    vae_config = ldm.create_vae_diffusers_config_from_ldm(original, state)
    unet = _built(UNet2DConditionModel, unet_config, ldm.convert_ldm_unet_checkpoint(state, unet_config), path, dtype)
    vae = _built(AutoencoderKL, vae_config, ldm.convert_ldm_vae_checkpoint(state, vae_config), path, torch.float32)

    if kind == "sd1":
        folder = _folder(root, params.get("cond_stage_config", {}))
        encoders = [Encoder(_clip(state, TEXT_SD1, folder))]
    else:
        folder = _folder(root, embedders[0]) if embedders else None
        arch = embedders[1]["params"].get("arch") if embedders else None
        encoders = [Encoder(_clip(state, TEXT_XL1, folder), layer=-2),
                    Encoder(_open_clip(state, arch), layer=-2, pad_with_zeros=True, pooled=True)]
    scaling = params.get("denoiser_config", {}).get("params", {}).get("scaling_config", {}).get("target", "")
    is_v = params.get("parameterization") == "v" or scaling.endswith("VScaling") or "v_pred" in state
    betas = (params.get("linear_start", BETAS[0]), params.get("linear_end", BETAS[1]))
    return _assembled(unet, vae, encoders, tokenizer_of(folder), kind, "v" if is_v else "eps", betas, device, dtype, path)


def _load_folder(path: Path, device: torch.device, dtype: torch.dtype) -> Model:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    if not (path / "unet" / "config.json").is_file():
        raise ModelError(f"NegGuide: {path} is not a diffusers folder (no unet/config.json)")
    try:
        unet = UNet2DConditionModel.from_pretrained(str(path), subfolder="unet", torch_dtype=dtype, local_files_only=True)
        vae = AutoencoderKL.from_pretrained(str(path), subfolder="vae", local_files_only=True)
        kind = "sdxl" if unet.config.addition_embed_type == "text_time" else "sd1"
        first = CLIPTextModel.from_pretrained(str(path / "text_encoder"), local_files_only=True)
        encoders = [Encoder(first, layer=-2 if kind == "sdxl" else None)]
        if kind == "sdxl":
            second = CLIPTextModelWithProjection.from_pretrained(str(path / "text_encoder_2"), local_files_only=True)
            encoders.append(Encoder(second, layer=-2, pad_with_zeros=True, pooled=True))
    except (OSError, ValueError) as error:
        raise ModelError(f"NegGuide: {path} cannot be read: {_first_line(error)}") from None
    if unet.config.in_channels != 4:
        raise ModelError(f"NegGuide: {path} takes {unet.config.in_channels} channels (inpainting or pix2pix), which is not supported")
    file = path / "scheduler" / "scheduler_config.json"
    scheduler = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    prediction = {"v_prediction": "v"}.get(scheduler.get("prediction_type"), "eps")
    betas = (scheduler.get("beta_start", BETAS[0]), scheduler.get("beta_end", BETAS[1]))
    return _assembled(unet, vae, encoders, tokenizer_of(path / "tokenizer"), kind, prediction, betas, device, dtype, path)


def _assembled(unet, vae, encoders: List[Encoder], tokenizer, kind, prediction, betas, device, dtype, path) -> Model:
    for module in (unet, vae, *(encoder.model for encoder in encoders)):
        module.to(device).eval().requires_grad_(False)
    steps = torch.linspace(betas[0] ** 0.5, betas[1] ** 0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1.0 - steps, 0).float()
    text = TextEncoder(encoders, tokenizer, device, dtype, zero_empty_negative=kind == "sdxl")
    return Model(unet, vae, text, kind, prediction, alphas, device, dtype, path.stem if path.is_file() else path.name)


def _read(path: Path) -> Dict[str, torch.Tensor]:
    """The state dict; pickles are read by torch's weights-only unpickler, which runs no code."""
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            state = load_file(str(path))
        else:
            state = torch.load(str(path), map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has exceptions of its own
        raise ModelError(f"NegGuide: {path.name} cannot be read as a checkpoint: {_first_line(error)}") from None
    state = state.get("state_dict", state) if isinstance(state, dict) else {}
    return {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}


def _kind(path: Path, state: Dict[str, torch.Tensor]) -> str:
    if any(key.startswith(TEXT_XL2) for key in state):
        return "sdxl"
    if any(key.startswith(TEXT_SD1) for key in state) and any(key.startswith(UNET) for key in state):
        return "sd1"
    for beginning, name in OTHERS:
        if any(key.startswith(beginning) for key in state):
            raise ModelError(f"NegGuide: {path.name} looks like {name}; SD1.x and SDXL checkpoints are supported")
    raise ModelError(f"NegGuide: {path.name} is not an SD1.x or SDXL checkpoint in the original layout")


def _params(path: Path, kind: str, state: Dict[str, torch.Tensor]) -> Tuple[Dict[str, Any], Path]:
    """``model.params`` of the yaml beside the file, else the standard ones of its kind, and the folder paths are relative to."""
    import yaml

    beside = path.with_suffix(".yaml")
    if beside.is_file():
        try:
            return yaml.safe_load(beside.read_text("utf-8"))["model"]["params"], beside.parent
        except (yaml.YAMLError, KeyError, TypeError) as error:
            raise ModelError(f"NegGuide: {beside.name} is not a model's config: {_first_line(error)}") from None
    params = json.loads(json.dumps(STANDARD[kind]))
    network = (params.get("unet_config") or params["network_config"])["params"]
    first = state[UNET + "input_blocks.0.0.weight"]
    network["in_channels"] = first.shape[1]
    if first.shape[0] != network["model_channels"]:
        raise ModelError(f"NegGuide: {path.name} has {first.shape[0]} model channels instead of the usual "
                         f"{network['model_channels']}; put its config beside it as {beside.name}")
    return params, path.parent


def _built(cls, config: Dict[str, Any], weights: Dict[str, torch.Tensor], path: Path, dtype: torch.dtype):
    """A model of that config with these weights, never initialised at random."""
    with torch.device("meta"):
        model = cls(**config)
    weights = {key: value.to(dtype) if value.is_floating_point() else value for key, value in weights.items()}
    _check(path, cls.__name__, model.state_dict(), weights)
    model.load_state_dict(weights, assign=True)
    return model


def _check(path, part: str, wanted: Dict[str, torch.Tensor], weights: Dict[str, torch.Tensor]) -> None:
    for key, value in wanted.items():
        if key not in weights:
            raise ModelError(f"NegGuide: {path.name} does not fit its config: {part} lacks {key}")
        if weights[key].shape != value.shape:
            raise ModelError(f"NegGuide: {path.name} does not fit its config: {key} of {part} is "
                             f"{tuple(weights[key].shape)} instead of {tuple(value.shape)}")
    extra = [key for key in weights if key not in wanted]
    if extra:
        raise ModelError(f"NegGuide: {path.name} does not fit its config: {part} has no {extra[0]}")


def _clip(state: Dict[str, torch.Tensor], prefix: str, folder: Optional[Path]):
    """transformers' CLIPTextModel of the weights under ``prefix``; sizes from the weights, heads from the folder's config."""
    from diffusers.loaders.single_file_utils import convert_ldm_clip_checkpoint
    from transformers import CLIPTextModel

    weights = convert_ldm_clip_checkpoint({key: value for key, value in state.items() if key.startswith(prefix)})
    # The oldest SD1 files lack this level.
    weights = {key if key.startswith("text_model.") else "text_model." + key: value for key, value in weights.items()}
    said = json.loads((folder / "config.json").read_text("utf-8")) if folder and (folder / "config.json").is_file() else {}
    layers = 1 + max(int(key.split(".")[3]) for key in weights if key.startswith("text_model.encoder.layers."))
    config = _clip_config(weights["text_model.embeddings.token_embedding.weight"].shape, layers,
                          said.get("num_attention_heads"), said.get("hidden_act", "quick_gelu"))
    return _loaded(CLIPTextModel(config), weights)


def _open_clip(state: Dict[str, torch.Tensor], arch: Optional[str]):
    """SDXL's second encoder as transformers' CLIPTextModelWithProjection."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint
    from transformers import CLIPTextModelWithProjection

    blocks = [key for key in state if key.startswith(TEXT_XL2 + "transformer.resblocks.")]
    layers = 1 + max(int(key[len(TEXT_XL2):].split(".")[2]) for key in blocks)
    shape = state[TEXT_XL2 + "token_embedding.weight"].shape
    config = _clip_config(shape, layers, _open_clip_heads(arch), "gelu", state[TEXT_XL2 + "text_projection"].shape[1])
    model = CLIPTextModelWithProjection(config)
    return _loaded(model, convert_open_clip_checkpoint(model, state, prefix=TEXT_XL2))


def _open_clip_heads(arch: Optional[str]) -> Optional[int]:
    from lib_negguide.hosts.embedded.text import find_spec

    package = find_spec("open_clip")
    file = Path(package.origin).parent / "model_configs" / f"{arch}.json" if package else None
    return json.loads(file.read_text("utf-8"))["text_cfg"]["heads"] if file and file.is_file() else None


def _clip_config(embedding: torch.Size, layers: int, heads: Optional[int], activation: str, projection: Optional[int] = None):
    from transformers import CLIPTextConfig

    width = embedding[1]
    return CLIPTextConfig(
        vocab_size=embedding[0], hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads or max(1, width // 64), hidden_act=activation, projection_dim=projection or width,
        bos_token_id=49406, eos_token_id=49407)


def _loaded(model, weights: Dict[str, torch.Tensor]):
    """Weights into a text model; the ids of positions, a buffer in some versions only, are left as built."""
    wanted = model.state_dict()
    weights = {key: value.float() for key, value in weights.items() if not key.endswith("position_ids") and key in wanted}
    missing = [key for key in wanted if key not in weights and not key.endswith("position_ids")]
    if missing:
        raise ModelError(f"NegGuide: the checkpoint's text encoder lacks {missing[0]}")
    model.load_state_dict(weights, strict=False)
    return model


def _folder(root: Path, embedder: Dict[str, Any]) -> Optional[Path]:
    """The local folder that an embedder's ``version`` names, relative to the yaml; ``None`` for a name on a hub."""
    version = (embedder.get("params") or {}).get("version")
    folder = root / str(version) if version else None
    return folder if folder and folder.is_dir() else None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
