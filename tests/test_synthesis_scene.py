import dataclasses
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kinedepth.synthesis.motion import (
    FRAMES_PER_UNIT,
    log_uniform,
    look_along,
    random_rotation,
    rotation_matrix,
    smooth_path,
)
from kinedepth.synthesis.raycast import cast
from kinedepth.synthesis.scene import CUBE, SPHERE, SceneConfig, Scenes, sample_scenes
from kinedepth.synthesis.surfaces import meet
from kinedepth.synthesis.trajectories import follow, follow_points


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene_of(*bodies: tuple[int, torch.Tensor, float], room: float = 50.0) -> Scenes:
    """One still frame: bodies (kind, centre, half size) before a camera in the middle of a cube."""
    maps, kinds, sizes = [], [], []
    for kind, centre, half in (*bodies, (CUBE, torch.zeros(3), room)):
        maps.append(torch.cat([half * torch.eye(3), centre[:, None]], dim=1))
        kinds.append(kind)
        sizes.append([half] * 3)
    return Scenes(
        to_camera=torch.stack(maps)[None, None],
        camera_to_world=torch.eye(3, 4)[None, None],
        kind=torch.tensor([kinds]),
        present=torch.ones(1, len(kinds), dtype=torch.bool),
        size=torch.tensor([sizes]),
        focal=torch.tensor([2.0]),
        aspect=torch.tensor([0.75]),
    )


def random_positions(scenes: Scenes, count: int, seed: int = 1) -> torch.Tensor:
    place = 2 * torch.rand(len(scenes), count, 2, generator=seeded(seed)) - 1
    place[..., 1] *= scenes.aspect[:, None]
    return place


class TestMotion:
    @given(st.tuples(*[st.floats(-4, 4)] * 3))
    @settings(max_examples=50, deadline=None)
    def test_a_rotation_matrix_is_orthonormal_and_keeps_handedness(self, vector):
        matrix = rotation_matrix(torch.tensor(vector, dtype=torch.float32))
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(3), atol=1e-5, rtol=0)
        assert torch.linalg.det(matrix) == pytest.approx(1, abs=1e-5)

    def test_a_rotation_turns_by_the_length_of_its_vector_about_it(self):
        quarter = rotation_matrix(torch.tensor([0.0, 0.0, math.pi / 2]))
        turned = quarter @ torch.tensor([1.0, 0.0, 0.0])
        torch.testing.assert_close(turned, torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)

    def test_rotations_agree_on_both_sides_of_the_small_angle_branch(self):
        axis = torch.tensor([0.6, 0.0, 0.8])
        below, above = rotation_matrix(axis * 0.99e-4), rotation_matrix(axis * 1.01e-4)
        torch.testing.assert_close(below, above, atol=1e-5, rtol=0)

    def test_random_rotations_are_rotations(self):
        matrix = random_rotation(seeded(), (20,))
        identity = torch.eye(3).expand(20, 3, 3)
        torch.testing.assert_close(matrix @ matrix.transpose(1, 2), identity, atol=1e-5, rtol=0)

    def test_a_camera_looks_along_its_direction_without_roll(self):
        direction = torch.tensor([[0.3, -0.4, 1.0], [-2.0, 0.1, 0.5]])
        axes = look_along(direction)
        forward = direction / direction.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(axes[..., 2], forward)
        torch.testing.assert_close(axes[:, 1, 0], torch.zeros(2), atol=1e-6, rtol=0)
        assert (axes[:, 1, 1] > 0).all()  # its y axis points down
        torch.testing.assert_close(torch.linalg.det(axes), torch.ones(2))

    def test_looking_straight_ahead_turns_nothing(self):
        torch.testing.assert_close(look_along(torch.tensor([0.0, 0.0, 3.0])), torch.eye(3))

    def test_a_path_is_zero_at_mid_clip_and_has_unit_speed(self):
        path = smooth_path(seeded(), (5,), 48, 3)
        torch.testing.assert_close(path[:, 24], torch.zeros(5, 3))
        step = path[:, FRAMES_PER_UNIT:] - path[:, :-FRAMES_PER_UNIT]
        speed = step.square().sum(-1).mean(-1).sqrt()
        torch.testing.assert_close(speed, torch.ones(5), atol=1e-4, rtol=0)

    def test_a_short_path_is_scaled_over_its_whole_length(self):
        path = smooth_path(seeded(), (4,), 3, 2)
        torch.testing.assert_close((path[:, 2] - path[:, 0]).norm(dim=-1), torch.ones(4))
        assert smooth_path(seeded(), (4,), 1, 2).abs().max() == 0

    def test_weights_stretch_the_axes_of_a_path(self):
        path = smooth_path(seeded(), (3,), 20, 3, weights=torch.tensor([1.0, 0.0, 1.0]))
        assert path[..., 1].abs().max() == 0

    def test_log_uniform_draws_stay_in_range(self):
        draws = log_uniform(seeded(), (1000,), 0.1, 10.0)
        assert draws.min() >= 0.1
        assert draws.max() <= 10
        assert (draws < 1).float().mean() == pytest.approx(0.5, abs=0.06)


class TestRaycast:
    def test_a_ray_meets_a_sphere_where_geometry_says(self):
        scenes = scene_of((SPHERE, torch.tensor([0.5, 0.0, 5.0]), 1.5))
        position = torch.tensor([[0.2, 0.0], [0.3, 0.1]])
        depth = cast(scenes, position[None, None]).depth[0, 0]
        place = torch.cat([position / 2.0, torch.ones(2, 1)], dim=-1) * depth[:, None]
        distance = (place - torch.tensor([0.5, 0.0, 5.0])).norm(dim=-1)
        torch.testing.assert_close(distance, torch.full((2,), 1.5))
        # Straight at the centre: 1.5 before it along the ray, of which z is a fixed share.
        assert depth[0] == pytest.approx(5.0 - 1.5 * 5.0 / math.hypot(0.5, 5.0))
        assert (depth < 5).all()

    def test_a_ray_meets_the_front_of_a_cube(self):
        scenes = scene_of((CUBE, torch.tensor([0.0, 0.0, 5.0]), 1.0))
        hits = cast(scenes, torch.tensor([[0.1, -0.2], [0.9, 0.0]])[None, None])
        assert hits.depth[0, 0, 0] == pytest.approx(4.0)
        assert hits.body[0, 0].tolist() == [0, 1]  # the second passes by and meets the room
        assert hits.depth[0, 0, 1] == pytest.approx(50.0)

    def test_the_nearer_of_two_bodies_is_seen(self):
        near, far = torch.tensor([0.0, 0.0, 3.0]), torch.tensor([0.0, 0.0, 6.0])
        scenes = scene_of((SPHERE, far, 1.0), (CUBE, near, 0.5))
        assert cast(scenes, torch.zeros(1, 1, 1, 2)).body.item() == 1

    def test_absent_bodies_and_bodies_behind_are_not_seen(self):
        scenes = scene_of(
            (SPHERE, torch.tensor([0.0, 0.0, 5.0]), 1.0),
            (CUBE, torch.tensor([0.0, 0.0, -5.0]), 1.0),
        )
        scenes.present[0, 0] = False
        assert cast(scenes, torch.zeros(1, 1, 1, 2)).body.item() == 2

    def test_depth_agrees_with_marching_along_the_rays(self):
        scenes = sample_scenes(seeded(3), 4, 2)
        position = random_positions(scenes, 40)[:, None].expand(-1, 2, -1, -1)
        hits = cast(scenes, position)
        step = 0.004
        depths = torch.arange(0.1, 4.0, step)
        ray = torch.cat([position / scenes.focal.view(-1, 1, 1, 1), torch.ones(4, 2, 40, 1)], -1)
        points = ray[..., None, :] * depths[:, None]  # (B, T, N, D, 3)
        inverse = torch.linalg.inv(scenes.to_camera[..., :3])
        first = torch.full((4, 2, 40), torch.inf)
        for body in range(scenes.kind.shape[1]):
            shift = scenes.to_camera[:, :, body, :, 3][:, :, None, None]
            local = torch.einsum("btij,btndj->btndi", inverse[:, :, body], points - shift)
            ball, box = local.norm(dim=-1) < 1, local.abs().amax(-1) < 1
            inside = torch.where((scenes.kind[:, body] == SPHERE)[:, None, None, None], ball, box)
            if body == scenes.kind.shape[1] - 1:
                inside = ~box  # the surroundings are seen from inside
            inside &= scenes.present[:, body, None, None, None]
            met = torch.where(inside.any(-1), depths[inside.int().argmax(-1)], torch.inf)
            first = torch.minimum(first, met)
        within = (hits.depth > 0.2) & (hits.depth < 3.9)
        gap = (first - hits.depth)[within]
        assert within.float().mean() > 0.3
        # A step may jump over a corner that the exact crossing finds.
        assert ((gap >= -1e-3) & (gap <= step + 1e-3)).float().mean() > 0.99

    def test_meeting_one_frame_agrees_with_casting_the_batch(self):
        scenes = sample_scenes(seeded(5), 3, 4)
        position = random_positions(scenes, 300)
        hits = cast(scenes, position[:, None].expand(-1, 4, -1, -1))
        for index in range(3):
            points = meet(scenes, index, 2, position[index])
            assert (points.body == hits.body[index, 2]).float().mean() > 0.995
            same = points.body == hits.body[index, 2]
            torch.testing.assert_close(
                points.depth[same], hits.depth[index, 2][same], rtol=1e-3, atol=1e-3
            )

    def test_places_and_normals_describe_the_surface_that_is_met(self):
        scenes = scene_of((SPHERE, torch.tensor([0.0, 0.0, 5.0]), 1.0))
        points = meet(scenes, 0, 0, torch.tensor([[0.0, 0.0], [0.3, 0.2], [0.9, 0.0]]))
        assert points.body.tolist() == [0, 0, 1]
        torch.testing.assert_close(points.local[:2].norm(dim=-1), torch.ones(2))
        torch.testing.assert_close(points.normal[0], torch.tensor([0.0, 0.0, -1.0]))
        torch.testing.assert_close(points.normal[1], points.local[1])
        assert points.face[2] == 5  # the far wall: axis z, positive side
        torch.testing.assert_close(points.normal[2], torch.tensor([0.0, 0.0, -1.0]))
        torch.testing.assert_close(points.normal.norm(dim=-1), torch.ones(3))


class TestScenes:
    def test_a_seed_fixes_the_scenes(self):
        first, again, other = (sample_scenes(seeded(s), 3, 8) for s in (7, 7, 8))
        assert torch.equal(first.to_camera, again.to_camera)
        assert torch.equal(first.present, again.present)
        assert not torch.equal(first.to_camera, other.to_camera)

    def test_camera_poses_are_rigid(self):
        rotation = sample_scenes(seeded(), 8, 10).camera_to_world[..., :3]
        identity = torch.eye(3).expand_as(rotation)
        torch.testing.assert_close(
            rotation @ rotation.transpose(-1, -2), identity, atol=1e-4, rtol=0
        )

    def test_still_bodies_stand_still_in_the_world(self):
        config = SceneConfig(camera_still=0.0)
        scenes = sample_scenes(seeded(2), 6, 8, config)
        rotation, centre = scenes.camera_to_world[..., :3], scenes.camera_to_world[..., 3]
        place = scenes.to_camera[..., 3]  # (B, T, M, 3)
        world = torch.einsum("btij,btmj->btmi", rotation, place) + centre[:, :, None]
        still = [*range(config.static_bodies), scenes.kind.shape[1] - 1]
        spread = (world[:, :, still] - world[:, :1, still]).abs().amax()
        assert spread < 1e-3
        moving = world[:, :, config.static_bodies : -1]
        assert (moving - moving[:, :1]).abs().amax() > 0.05

    def test_a_still_camera_does_not_move(self):
        config = SceneConfig(camera_still=1.0, camera_rotation=(1e-9, 1e-9), camera_shakes=0.0)
        pose = sample_scenes(seeded(), 5, 9, config).camera_to_world
        torch.testing.assert_close(pose, pose[:, :1].expand_as(pose), atol=1e-6, rtol=0)

    def test_scenes_can_do_without_moving_groups(self):
        scenes = sample_scenes(seeded(), 2, 4, SceneConfig(moving_groups=0))
        assert scenes.kind.shape == (2, SceneConfig().static_bodies + 1)

    def test_a_batch_of_scenes_can_be_indexed(self):
        scenes = sample_scenes(seeded(), 4, 3)
        assert len(scenes[1:3]) == 2
        assert torch.equal(scenes[1:3].focal, scenes.focal[1:3])


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return sample_scenes(seeded(11), 6, 12)


@pytest.fixture(scope="module")
def seeds(scenes):
    frame = torch.randint(12, (6, 60), generator=seeded(2))
    return random_positions(scenes, 60), frame


@pytest.fixture(scope="module")
def truth(scenes, seeds):
    return follow(scenes, *seeds)


class TestTrajectories:
    def test_a_point_starts_at_its_seed_and_is_visible_there(self, scenes, seeds, truth):
        place, frame = seeds
        at_seed = frame[:, None, :, None].expand(-1, 1, -1, 2)
        torch.testing.assert_close(
            truth.position.gather(1, at_seed)[:, 0], place, atol=2e-4, rtol=0
        )
        assert truth.visible.gather(1, frame[:, None]).float().mean() > 0.999

    def test_pixels_are_projections_of_the_points_in_space(self, scenes, seeds, truth):
        point, body = follow_points(scenes, *seeds)
        projected = scenes.focal[:, None, None, None] * point[..., :2] / point[..., 2:]
        torch.testing.assert_close(projected[truth.visible], truth.position[truth.visible])
        torch.testing.assert_close(point[..., 2], truth.depth)
        assert torch.equal(body, truth.body)

    def test_visible_points_lie_on_the_nearest_surface(self, scenes, truth):
        front = cast(scenes, truth.position).depth[truth.visible]
        ratio = front / truth.depth[truth.visible]
        assert ratio.min() > 0.98
        assert ((ratio - 1).abs() < 1e-3).float().mean() > 0.99

    def test_points_hidden_inside_the_image_have_something_in_front(self, scenes, truth):
        inside = (truth.position.abs() <= 1).all(-1)
        inside &= truth.position[..., 1].abs() <= scenes.aspect[:, None, None]
        hidden = inside & truth.ahead & ~truth.visible
        assert hidden.any()
        front = cast(scenes, truth.position).depth
        assert (front[hidden] < truth.depth[hidden]).all()

    def test_points_behind_the_camera_or_outside_the_image_are_not_visible(self, scenes, truth):
        outside = (truth.position[..., 0].abs() > 1) | ~truth.ahead
        outside |= truth.position[..., 1].abs() > scenes.aspect[:, None, None]
        assert outside.any()
        assert not truth.visible[outside].any()

    def test_positions_are_finite_everywhere(self, truth):
        assert truth.position.isfinite().all()
        assert truth.log_ratio().isfinite().all()

    def test_log_ratio_is_zero_in_the_frame_of_reference(self, truth):
        for reference in (0, 5):
            assert truth.log_ratio(reference)[:, reference].abs().max() == 0

    def test_log_ratios_about_two_frames_differ_in_sign(self, truth):
        forwards = truth.log_ratio(2, limit=100.0)[:, 9]
        backwards = truth.log_ratio(9, limit=100.0)[:, 2]
        torch.testing.assert_close(forwards, -backwards, atol=1e-5, rtol=0)

    def test_log_ratio_is_the_log_of_depth_over_depth(self, truth):
        expected = (truth.depth[:, 7] / truth.depth[:, 0]).log()
        fine = truth.ahead[:, 7] & truth.ahead[:, 0] & (expected.abs() < 2)
        torch.testing.assert_close(truth.log_ratio()[:, 7][fine], expected[fine])

    def test_scaling_all_lengths_changes_neither_tracks_nor_ratios(self, scenes, seeds, truth):
        scale = 1.7
        pose = scenes.camera_to_world.clone()
        pose[..., 3] *= scale
        larger = dataclasses.replace(
            scenes,
            to_camera=scenes.to_camera * scale,
            camera_to_world=pose,
            size=scenes.size * scale,
        )
        scaled = follow(larger, *seeds)
        # What counts as too near to see is an absolute length, and rounding moves the edges.
        far = (truth.depth > 0.1).all(1, keepdim=True).expand_as(truth.ahead)
        far = far & (scaled.body == truth.body)[:, None]
        assert far.float().mean() > 0.5
        torch.testing.assert_close(scaled.position[far], truth.position[far], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(scaled.depth[far], scale * truth.depth[far], rtol=2e-3, atol=0)
        torch.testing.assert_close(
            scaled.log_ratio()[far], truth.log_ratio()[far], atol=2e-3, rtol=0
        )
        assert (scaled.visible == truth.visible)[far].float().mean() > 0.99

    def test_a_scene_does_not_depend_on_its_batch(self, scenes, seeds, truth):
        alone = follow(scenes[2:3], seeds[0][2:3], seeds[1][2:3])
        torch.testing.assert_close(alone.position[0], truth.position[2], atol=1e-4, rtol=0)
        assert (alone.visible[0] == truth.visible[2]).float().mean() > 0.998
