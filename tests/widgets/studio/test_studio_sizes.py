"""A photograph comes out of the studio at its own size, and how large is said beforehand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from hdpainter_nb.images.compositing import grown, poisson
from hdpainter_nb.images.resize import resize
from hdpainter_widgets.studio.studio import Studio


@pytest.fixture
def photograph() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 200, (30, 40, 3), dtype=np.uint8)
    mask = np.zeros((480, 640), bool)
    mask[150:260, 300:420] = True
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8)), mask


def test_a_photograph_is_saved_at_its_own_size(
    make_studio: Callable[..., Studio], photograph: tuple[np.ndarray, np.ndarray]
) -> None:
    """It was saved at the 128 x 96 pixels that the model works at, without a word."""
    image, mask = photograph
    studio = make_studio(image, mask, prompt="a red star", steps=2)
    assert "at 128 × 96 pixels" in studio.page.saying.value
    assert "at its own 640 × 480" in studio.page.saying.value
    size = studio.files.size
    assert size.layout.display is None
    assert [text.split(" px")[0] for text, _ in size.options] == ["640 × 480", "128 × 96"]
    studio.step(1)
    studio.wait()
    with Image.open(studio.save("star.png")) as saved:
        large = np.asarray(saved)
    assert large.shape == image.shape
    np.testing.assert_array_equal(large[~grown(mask)], image[~grown(mask)])
    assert np.abs(large[mask].astype(int) - image[mask]).mean() > 1
    # The window that is worked on changes nothing.
    whole = poisson(image, resize(studio.sampler.image(), mask.shape), mask)
    np.testing.assert_array_equal(large, whole)
    np.testing.assert_array_equal(studio.image(size="original"), whole)
    assert studio.image().shape == (96, 128, 3)


def test_the_models_own_size_is_the_option(
    make_studio: Callable[..., Studio], photograph: tuple[np.ndarray, np.ndarray]
) -> None:
    studio = make_studio(*photograph, prompt="a red star", steps=2)
    studio.step(1)
    studio.wait()
    for size in ("original", "model"):
        studio.files.size.value = size
        studio.files.buttons[".png"].click()
        studio.wait()
    with Image.open("a-red-star.png") as first, Image.open("a-red-star-2.png") as second:
        assert (first.size, second.size) == ((640, 480), (128, 96))
    studio.painter.image = photograph[0][:128, :128]
    studio.painter.mask = photograph[1][140:268, 300:428]
    assert studio.files.size.layout.display == "none", "nothing to choose between"


@pytest.mark.parametrize("paste", [False, True, "poisson"])
def test_a_samplers_picture_at_the_given_ones_size(
    make_studio: Callable[..., Studio], photograph: tuple[np.ndarray, np.ndarray], paste: object
) -> None:
    image, mask = photograph
    studio = make_studio(image, mask, prompt="a red star", steps=2)
    studio.step(1)
    studio.wait()
    large = studio.sampler.image(paste=paste, size="original")
    assert large.shape == image.shape
    assert np.array_equal(large[~grown(mask)], image[~grown(mask)]) == bool(paste)
