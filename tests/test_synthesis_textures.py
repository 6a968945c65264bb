import numpy as np
import pytest
import torch

from kinedepth.synthesis.scene import sample_scenes
from kinedepth.synthesis.solid_noise import SolidNoise, resolved, soft_step
from kinedepth.synthesis.textures import _PATTERNS, is_open_ground, sample_textures


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class TestNoise:
    def test_noise_varies_about_zero_by_nearly_one(self):
        noise = SolidNoise(seeded())
        points = 50 * torch.rand(20_000, 3, generator=seeded(1))
        values = noise.layered(points, torch.full((20_000,), 1e-4), 0.5, 5)
        assert values.mean() == pytest.approx(0, abs=0.05)
        assert values.std() == pytest.approx(0.8, abs=0.15)

    def test_noise_is_continuous_also_across_the_tile_border(self):
        noise = SolidNoise(seeded())
        # The tile spans 16 wavelengths.
        line = torch.linspace(15.9, 16.1, 400)
        values = noise.octave(torch.stack([line, line * 0.3, -line], dim=-1), 1.0)
        assert values.diff().abs().max() < 0.02

    def test_detail_finer_than_the_pixels_fades_out(self):
        noise = SolidNoise(seeded())
        points = 9 * torch.rand(5000, 3, generator=seeded(1))
        stds = [
            float(noise.layered(points, torch.full((5000,), footprint), 0.5, 6).std())
            for footprint in (0.001, 0.03, 0.1, 0.3)
        ]
        assert stds == sorted(stds, reverse=True)
        assert stds[-1] == 0

    def test_a_detail_is_shown_in_full_when_it_spans_many_pixels(self):
        share = resolved(1.0, torch.tensor([0.01, 0.3, 10.0]))
        assert share[0] == 1
        assert 0 < share[1] < 1
        assert share[2] == 0

    def test_a_soft_step_is_half_at_the_edge_and_sharp_for_small_pixels(self):
        distance = torch.tensor([-0.1, 0.0, 0.1])
        assert soft_step(distance, torch.full((3,), 0.01)).tolist() == [0, 0.5, 1]
        assert soft_step(distance, torch.full((3,), 0.4)).tolist() == pytest.approx(
            [0.25, 0.5, 0.75]
        )


class TestTextures:
    @pytest.mark.parametrize("name", sorted(_PATTERNS))
    def test_a_pattern_stays_between_ground_and_figure(self, name):
        scenes = sample_scenes(seeded(), 1, 2)
        texture = sample_textures(seeded(2), scenes, 0)._surfaces[0]
        points = 4 * torch.rand(4000, 3, generator=seeded(1)) - 2
        footprint = 10 ** (-4 * torch.rand(4000, generator=seeded(3)))
        figure = _PATTERNS[name](texture, SolidNoise(seeded()), points, footprint)
        assert figure.isfinite().all()
        assert figure.min() >= 0
        assert figure.max() <= 1

    @pytest.mark.parametrize("richness", ["rich", "poor"])
    def test_colours_are_in_range_on_every_surface(self, richness):
        scenes = sample_scenes(seeded(4), 1, 2)
        textures = sample_textures(seeded(5), scenes, 0, richness)
        points = 4 * torch.rand(500, 3, generator=seeded(1)) - 2
        assert len(textures) == scenes.kind.shape[1] + 2  # walls, floor and ceiling
        for surface in range(len(textures)):
            colour = textures.colour(surface, points, torch.full((500,), 0.005))
            assert colour.min() >= 0
            assert colour.max() <= 1
            assert colour.std() > 0

    def test_rich_surfaces_vary_more_than_poor_ones(self):
        scenes = sample_scenes(seeded(4), 1, 2)
        points = 0.5 * torch.rand(2000, 3, generator=seeded(1))
        footprint = torch.full((2000,), 0.004)

        def contrast(richness):
            textures = sample_textures(seeded(5), scenes, 0, richness)
            each = [textures.colour(i, points, footprint) for i in range(len(textures))]
            return torch.stack(each).std(dim=1).mean()

        assert contrast("rich") > 1.5 * contrast("poor")

    def test_the_surroundings_have_walls_floor_and_ceiling_of_their_own(self):
        scenes = sample_scenes(seeded(), 1, 2)
        last = scenes.kind.shape[1] - 1
        local = torch.tensor([[1.0, 0.5, 0.2], [0.1, 1.0, 0.2], [0.1, -1.0, 0.2], [0.0, 1.0, 0.0]])
        body = torch.tensor([last, last, last, 0])
        surface = sample_textures(seeded(), scenes, 0).surface_of(scenes, body, local)
        assert surface.tolist() == [last, last + 1, last + 2, 0]

    def test_open_ground_is_told_from_rooms(self):
        scenes = sample_scenes(seeded(), 64, 2)
        share = np.mean([is_open_ground(scenes, index) for index in range(64)])
        assert share == pytest.approx(0.3, abs=0.15)
