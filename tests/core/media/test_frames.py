"""Frames brought to a model's shape and back."""

import numpy as np
import torch

from onaspr_core.media.frames import fit_frames, to_frames, to_video


def clip(frames: int = 4, height: int = 16, width: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)


def test_a_clip_that_fits_keeps_every_pixel() -> None:
    fitted, repeated = fit_frames(clip(), 4, 16, 16)
    assert np.array_equal(fitted, clip()) and repeated == 0


def test_a_longer_clip_gives_its_first_frames_and_a_shorter_one_repeats_its_last() -> None:
    fitted, repeated = fit_frames(clip(), 3, 16, 16)
    assert np.array_equal(fitted, clip()[:3]) and repeated == 0
    fitted, repeated = fit_frames(clip(), 6, 16, 16)
    assert repeated == 2
    assert np.array_equal(fitted[:4], clip())
    assert np.array_equal(fitted[4], clip()[3]) and np.array_equal(fitted[5], clip()[3])


def test_a_wider_clip_is_cropped_at_the_centre() -> None:
    """Left, middle and right thirds are red, green and blue; only green is left."""
    wide = np.zeros((1, 12, 36, 3), dtype=np.uint8)
    for third in range(3):
        wide[:, :, 12 * third : 12 * third + 12, third] = 200
    fitted, _ = fit_frames(wide, 1, 6, 6)
    assert fitted.shape == (1, 6, 6, 3)
    assert np.array_equal(np.unique(fitted.reshape(-1, 3), axis=0), [[0, 200, 0]])
    tall, _ = fit_frames(wide.transpose(0, 2, 1, 3).copy(), 1, 6, 6)
    assert np.array_equal(tall, fitted)


def test_shrinking_averages_fine_detail_away() -> None:
    stripes = np.zeros((1, 64, 64, 3), dtype=np.uint8)
    stripes[:, :, ::2] = 255
    fitted, _ = fit_frames(stripes, 1, 8, 8)
    assert np.abs(fitted.astype(int) - 127).max() <= 8


def test_frames_survive_the_way_to_video_and_back() -> None:
    first, second = clip(), 255 - clip()
    video = to_video([first, second])
    assert video.shape == (2, 3, 4, 16, 16) and video.dtype == torch.float32
    assert float(video.min()) == -1 and float(video.max()) == 1
    back = to_frames(video)
    assert np.array_equal(back[0], first) and np.array_equal(back[1], second)


def test_values_outside_the_range_are_clamped_and_others_rounded() -> None:
    video = torch.tensor([-3.0, -1.0, 0.0, 0.003, 1.0, 9.0]).reshape(1, 1, 6, 1, 1).expand(1, 3, 6, 1, 1)
    assert to_frames(video)[0][:, 0, 0, 0].tolist() == [0, 0, 128, 128, 255, 255]
