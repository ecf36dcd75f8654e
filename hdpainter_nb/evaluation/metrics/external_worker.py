"""Metrics that live in an environment of their own: started by `external`, never imported.

Another interpreter runs this text with the metric's name and the device as arguments. It needs
Python 3.8, the metric's package, and nothing of this library. Each line of standard input is a
JSON object with ``id``, ``picture``, ``reference``, ``mask`` (paths of PNG files) and ``prompt``;
each line of its answer one with ``id`` and the metric's name.
"""

# mypy: ignore-errors

import json
import os
import sys


def image_reward(device):
    """ImageReward (Xu et al. 2023), package `image-reward`."""
    import ImageReward

    model = ImageReward.load("ImageReward-v1.0", device=device)
    return lambda item: model.score(item["prompt"], item["picture"])


def hpsv2(device):
    """HPS v2.1 (Wu et al. 2023), package `hpsv2`, which picks its device by itself."""
    import hpsv2

    def score(item):
        return hpsv2.score(item["picture"], item["prompt"], hps_version="v2.1")[0]

    return score


def lpips(device):
    """LPIPS (Zhang et al. 2018) of the known pixels, holes black in both, package `lpips`."""
    import lpips
    import numpy
    import torch
    from PIL import Image

    model = lpips.LPIPS(net="squeeze", verbose=False).to(device).eval()

    def tensor(path, known):
        values = numpy.asarray(Image.open(path).convert("RGB"), dtype="float32") / 255
        values = numpy.ascontiguousarray((values * known).transpose(2, 0, 1))
        return torch.from_numpy(2 * values - 1)[None].to(device)

    def score(item):
        known = numpy.asarray(Image.open(item["mask"]).convert("L"))[..., None] == 0
        with torch.no_grad():
            distance = model(tensor(item["picture"], known), tensor(item["reference"], known))
        return distance.item()

    return score


METRICS = {"image_reward": image_reward, "hpsv2": hpsv2, "lpips": lpips}


def main(name, device):
    """Answer line by line until the input ends."""
    # Libraries print while they load; only answers may get into the pipe.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(**answer):
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        if not device:
            import torch

            device = "cuda" if torch.cuda.is_available() else "cpu"
        score = METRICS[name](device)
    except ModuleNotFoundError as error:  # one that is there but broken has its own words
        say(missing=error.name or str(error))
        return
    for line in sys.stdin:
        item = json.loads(line)
        say(id=item["id"], **{name: float(score(item))})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
