"""How jobs, records and traces show themselves in a notebook."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from hdpainter_nb import Job, Sampler, Trace
from hdpainter_nb.models.model import Model
from hdpainter_nb.utils import html


def pictures(text: str) -> list[Image.Image]:
    codes = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    return [Image.open(io.BytesIO(base64.b64decode(code))) for code in codes]


def test_a_job_shows_its_hole_and_escapes_its_words(job: Job) -> None:
    text = job.replace(prompt="<script>alert(1)</script>", eta=0.3)._repr_html_()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "eta 0.3" in text
    pixels = np.asarray(pictures(text)[0])
    assert pixels[64, 64, 0] > 100  # tinted
    np.testing.assert_array_equal(pixels[4, 4], job.image[4, 4])


def test_a_record_and_a_trace_show_what_they_hold(model: Model, job: Job) -> None:
    sampler = Sampler(model, job)
    record = sampler.step()
    text = record._repr_html_()
    assert pictures(text)[0].size == (16, 16)
    assert "std of grad S" in text
    assert "std of grad S" not in Sampler(model, job.replace(rasg=False)).step()._repr_html_()
    sampler.branch(painta=False).step()
    text = sampler.trace._repr_html_()
    assert "without PAIntA" in text
    assert pictures(text)[0].size == (16, 16)  # a preview, as nothing was decoded
    sampler.image()
    assert pictures(sampler.trace._repr_html_())[0].size == (128, 128)
    assert "<table" in Trace()._repr_html_()


def test_large_pictures_are_made_small() -> None:
    image = pictures(html.picture(np.zeros((3000, 4000, 3), np.uint8)))[0]
    assert image.size == (320, 240)
