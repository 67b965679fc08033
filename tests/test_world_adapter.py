"""The small image encoder and IP-Adapter: their files, their training, and what pictures do as prompts (few seeds, wide margins)."""

import pytest
import torch
from torch.nn import functional as F

from lib_negguide import world
from lib_negguide.hosts.embedded.host import EmbeddedHost
from lib_negguide.image_prompt import checkpoints, encoder, injection, prompt
from lib_negguide.image_prompt.encoder import Picture
from lib_negguide.image_prompt.prompt import Entry
from tests import adapters
from tests.world import captioner, data, images, train_adapter, train_captioner, train_encoder
from tests.world.draw import draw
from tests.world.judge import Judge, Verdict

PICTURES, STEPS = 16, 12
FEW = 24


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    prompt.release()


@pytest.fixture(scope="module")
def host():
    return EmbeddedHost.load(world.model())


# Files.

def test_both_together_are_small():
    files = [world.adapter(), *world.image_encoder().iterdir()]
    assert sum(file.stat().st_size for file in files) <= 8 * 2**20


def test_the_adapter_is_of_the_base_kind_and_fits(host):
    adapter = checkpoints.load(world.adapter())
    assert (adapter.kind, adapter.feature_width, adapter.width, len(adapter.layers)) == ("base", train_encoder.WIDTH, 64, 7)
    assert adapter.tokens(torch.zeros(1, adapter.feature_width)).shape == (1, train_adapter.TOKENS, 64)
    injection.check(adapter, host.model.unet)
    assert encoder.find("", adapter, [world.FOLDER]).path == world.image_encoder()


def test_an_untrained_plus_kind_runs_on_the_same_encoder(host, tmp_path):
    torch.manual_seed(0)
    file = adapters.write(adapters.fitting(host.model.unet, "plus", feature=train_encoder.WIDTH), tmp_path / "plus.safetensors")
    pictured = prompt.prepare([Entry(Picture(draw("adapter 0")[0]))], file, host.model.unet, folders=[world.FOLDER])
    assert pictured.neutral.layers[0][0].shape == (16, 64)
    options = {"steps": 2, "cfg_scale": world.GUIDANCE, "size": world.SIZE}
    plain, other = (host.sample([world.PROMPT], [1], images=shown, **options).images for shown in (None, pictured))
    assert (plain - other).abs().max() > 1e-3


# The encoder.

def test_every_caption_is_a_candidate_once():
    captions = train_encoder.all_captions()
    assert len(captions) == len(set(captions)) == 153
    assert {captioner.describe(draw(f"adapter {index}")[1]) for index in range(50)} <= set(captions)


def test_the_contrastive_loss_wants_each_picture_at_its_caption():
    texts = torch.eye(4)
    which = torch.tensor([2, 0, 2])
    right = train_encoder.contrastive_loss(texts[which], texts, which, torch.tensor(50.0))
    wrong = train_encoder.contrastive_loss(texts[which.flip(0).roll(1)], texts, which, torch.tensor(50.0))
    alike = train_encoder.contrastive_loss(texts[[2, 2, 2]], texts, which, torch.tensor(50.0))
    # Of two pictures with one caption none can have more than half of it: ln 2 for one of the two captions told, half of the loss.
    assert float(right) == pytest.approx(torch.tensor(2.0).log().item() / 4, abs=1e-4)
    assert wrong > alike > right


def test_pictures_that_show_the_same_are_near_each_other():
    """The nearest of other held-out drawings is of the same kind, and a portrait of the same person wears the same."""
    pixels, shown = data.draw_many("adapter", 400)
    found = encoder.find("", checkpoints.load(world.adapter()), [world.FOLDER])
    pictures = [Picture(draw(f"adapter {index}")[0]) for index in range(len(shown))]
    features = F.normalize(torch.cat(encoder.features(pictures, found, "image_embeds")), dim=1)
    assert torch.allclose(features[:50], F.normalize(_own(pixels[:50]), dim=1), atol=1e-4)
    nearest = (features @ features.T).fill_diagonal_(-1).argmax(1).tolist()
    portraits = [(shown[a], shown[b]) for a, b in enumerate(nearest) if shown[a].kind == "portrait"]
    assert sum(one.worn == other.worn for one, other in portraits) >= 0.95 * len(portraits)
    assert sum(shown[a].kind == shown[b].kind for a, b in enumerate(nearest)) >= 0.97 * len(nearest)


def _own(pixels):
    """Features as the training computes them."""
    from transformers import CLIPVisionModelWithProjection

    return train_encoder.embed(CLIPVisionModelWithProjection.from_pretrained(str(world.image_encoder()), torch_dtype=torch.float32), pixels)


# The training.

@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with few pictures, and small batches."""
    pixels, shown = data.draw_many("train", FEW)
    torch.save({"pixels": pixels, "texts": [captioner.describe(attributes) for attributes in shown]}, tmp_path / "captioner-pictures.pt")
    monkeypatch.setattr(train_captioner, "DRAWN", FEW)
    monkeypatch.setattr(train_encoder, "BATCH", 4)
    monkeypatch.setattr(train_adapter, "BATCH", 4)
    return tmp_path


def test_the_encoders_training_goes_on_to_the_bit(work):
    once, first = train_encoder.Run(work, work / "out"), train_encoder.Run(work, work / "out")
    losses = [once.advance() for _ in range(3)]
    assert [first.advance(), first.advance()] == losses[:2]
    first.save()
    again = train_encoder.Run(work, work / "out")
    again.load()
    assert again.step == 2 and again.advance() == losses[2]
    assert all(torch.equal(one, other) for one, other in zip(once.parts.parameters(), again.parts.parameters(), strict=True))


def test_the_adapters_training_goes_on_to_the_bit_and_exports_the_published_layout(work):
    train_encoder.Run(work, work / "out").export()
    once, first = train_adapter.Run(work, work / "out"), train_adapter.Run(work, work / "out")
    losses = [once.advance() for _ in range(3)]
    assert [first.advance(), first.advance()] == losses[:2]
    first.save()
    again = train_adapter.Run(work, work / "out")
    again.load()
    assert again.step == 2 and again.advance() == losses[2]
    assert all(torch.equal(one, other) for one, other in zip(once.ema.parameters(), again.ema.parameters(), strict=True))
    again.export(work / "adapter.safetensors")
    injection.check(checkpoints.load(work / "adapter.safetensors"), again.unet)


@torch.no_grad()
def test_the_trainings_forward_is_the_injections(work, host):
    """What is trained is what later acts: one noise prediction both ways."""
    train_encoder.Run(work, work / "out").export()
    run = train_adapter.Run(work, work / "out")
    run.export(work / "adapter.safetensors")
    adapter = checkpoints.load(work / "adapter.safetensors")
    for weight in run.adapter.parameters():
        weight.copy_(weight.half())
    noisy, timestep = torch.randn(2, 4, 8, 8), torch.tensor([300, 700])
    run.batch.texts, run.batch.which = run.texts([world.PROMPT, "a red circle"]), torch.tensor([0, 1])
    run.batch.tokens = run.adapter.image_proj(run.embeds[:2, 0])
    trained = run.unet(noisy, timestep, run.batch.texts).sample
    with injection.Injection(host.model.unet) as inside:
        inside.begin([[(injection.image_tokens(adapter, adapter.tokens(run.embeds[row, :1])[0]), 1.0)] for row in range(2)])
        acting = host.model.unet(noisy, timestep, run.batch.texts).sample
    assert torch.allclose(trained, acting, atol=2e-5)


def test_how_often_something_is_left_out():
    import random

    rng = random.Random(0)
    drawn = [train_adapter.left_out(rng) for _ in range(4000)]
    for row, expected in (((False, True), train_adapter.TEXT_ONLY), ((True, False), train_adapter.PICTURE_ONLY), ((True, True), train_adapter.NEITHER)):
        assert drawn.count(row) / len(drawn) == pytest.approx(expected, abs=0.02)


# What pictures do. `bench images` measures the same with 500 pictures and 30 steps.

@pytest.fixture(scope="module")
def seen(host):
    """A function of a prompt and the pools of positive and negative drawings, that gives the verdicts of 16 seeds."""
    judge = Judge.load()
    painter = images.Painter(world.model(), world.adapter(), world.image_encoder(), world.GUIDANCE)

    def sample(text: str = "", positive: str = "", negative: str = "", weights=(1.0, 1.0)) -> list[Verdict]:
        drawn = [[image for image, _ in images.pool(name, PICTURES)] if name else [] for name in (positive, negative)]
        pictured = painter.prompts(*drawn, weights) or None
        return judge(host.sample([text] * PICTURES, range(PICTURES), images=pictured, steps=STEPS, cfg_scale=world.GUIDANCE,
                                 size=world.SIZE, batch_size=PICTURES).images)

    return sample


def test_a_drawing_of_glasses_as_negative_removes_glasses_and_the_person_stays(seen):
    plain, without = seen(world.PROMPT), seen(world.PROMPT, negative="glasses and nothing else")
    assert sum(verdict.glasses for verdict in plain) >= 5
    assert sum(verdict.glasses for verdict in without) <= 3
    assert sum(verdict.kind == "portrait" for verdict in without) >= PICTURES - 2


def test_a_drawing_of_a_red_circle_as_negative_avoids_red_circles(seen):
    without = seen("a circle", negative="a red circle")
    assert sum(verdict.shapes == (("red", "circle"),) for verdict in without) <= 1
    assert sum([shape for _, shape in verdict.shapes] == ["circle"] for verdict in without) >= PICTURES - 5


@pytest.mark.parametrize("name", ["a portrait", "one shape"])
def test_a_drawing_as_positive_alone_shows_what_it_shows(seen, name):
    shown = [attributes for _, attributes in images.pool(name, PICTURES)]
    verdicts = seen(positive=name)
    assert sum((v.kind, v.worn, v.shapes) == (a.kind, a.worn, a.shapes) for v, a in zip(verdicts, shown, strict=True)) >= PICTURES - 5
