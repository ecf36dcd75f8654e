"""Preservation: errors outside the hole only, and seams that the true picture is the measure of."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hdpainter_nb.errors import SettingsError
from hdpainter_nb.evaluation.metrics.metric import PaintedTriplet
from hdpainter_nb.evaluation.metrics.preservation import (
    PSNR_CEILING,
    Preservation,
    psnr,
    rim_energy,
)
from hdpainter_nb.evaluation.triplet import FramedTriplet, Triplet
from hdpainter_nb.images.compositing import paste
from support.builders_metrics import painting


def test_errors_are_of_the_known_pixels() -> None:
    one = painting(2)
    known = np.ones((48, 64), bool)
    known[8:32, 16:28] = False  # the soft rim belongs to the hole
    squares = np.square((one.picture[known].astype(float) - one.triplet.image[known]) / 255)
    row = Preservation().score([one])[0]
    assert row["preservation_mse"] == pytest.approx(squares.mean())
    assert row["preservation_psnr"] == pytest.approx(10 * math.log10(1 / squares.mean()))
    # BrushNet's script divides by pixels.
    other = Preservation(per="pixel").score([one])[0]
    assert other["preservation_mse"] == pytest.approx(squares.sum() / known.sum())
    assert row["preservation_psnr"] - other["preservation_psnr"] == pytest.approx(4.771, abs=1e-3)
    assert set(row) == set(Preservation().columns)


def test_what_is_equal_has_a_finite_psnr_and_what_is_unknown_none() -> None:
    one = painting(2)
    same = PaintedTriplet(one.triplet, one.triplet.image)
    row = Preservation().score([same])[0]
    assert (row["preservation_mse"], row["preservation_psnr"]) == (0, PSNR_CEILING)
    assert row["preservation_seam"] == 1
    assert psnr(1e-30) == PSNR_CEILING
    full = np.full((8, 8), 255, np.uint8)
    image = np.zeros((8, 8, 3), np.uint8)
    all_hole = FramedTriplet(Triplet("1_0", image, full, "a"), image, full)
    empty = Preservation().score([PaintedTriplet(all_hole, image)])[0]
    assert all(math.isnan(value) for value in empty.values())


def test_the_seam_is_across_the_rim_and_against_the_truth() -> None:
    image = np.zeros((20, 20, 3), np.uint8)
    image[:, 10:] = 10  # a step of 10 in the middle
    hole = np.zeros((20, 20), bool)
    hole[5:15, 5:10] = True
    # Of the hole's four sides only the right one, 10 pixels high, is on the step.
    assert rim_energy(image, hole) == 10 * 3 * 10**2
    soft = hole.astype(np.uint8) * 255
    picture = image.copy()
    picture[hole] = 30  # 10 pixels step from 30 to 10, and 10 + 5 + 5 from 0 to 30
    framed = FramedTriplet(Triplet("1_0", image, soft, "a"), image, soft)
    row = Preservation().score([PaintedTriplet(framed, picture)])[0]
    energy = 3 * (10 * 20**2 + 20 * 30**2)
    assert row["preservation_seam"] == pytest.approx(energy / 3000)
    pasted = paste(image, picture, hole.astype(np.float32))
    assert row["preservation_pasted_seam"] == pytest.approx(rim_energy(pasted, hole) / 3000)

    truth = image.copy()
    truth[hole] = 5
    told = FramedTriplet(Triplet("1_0", image, soft, "a", facts={"truth": truth}), image, soft)
    row = Preservation().score([PaintedTriplet(told, picture)])[0]
    assert row["preservation_seam"] == pytest.approx(energy / rim_energy(truth, hole))


def test_options_are_checked() -> None:
    with pytest.raises(SettingsError, match="per must be one of"):
        Preservation(per="both")  # type: ignore[arg-type]
