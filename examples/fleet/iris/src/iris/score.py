"""Name the species of iris flowers. A petal width that was not measured is estimated first.

The request is a JSON object {"flowers": [{"sepal_length", "sepal_width", "petal_length", "petal_width"}, ...]}, in
centimetres; petal_width may be left out.
"""

import json

from iris.onnx_model import OnnxModel, model_path

MEASURED = ("sepal_length", "sepal_width", "petal_length")

classify = estimate_petal_width = labels = None


def init():
    """Load both models. The server calls this once in each worker, before the first request."""
    global classify, estimate_petal_width, labels
    species = model_path("species", 1)
    classify = OnnxModel(species / "model.onnx")
    labels = json.loads((species / "labels.json").read_text())
    estimate_petal_width = OnnxModel(model_path("petal-width", 2))


def run(data):
    """Answer one request: data is its body, as text."""
    answers = [_answer(flower) for flower in json.loads(data)["flowers"]]
    return {"flowers": answers}


def _answer(flower):
    measured = [float(flower[name]) for name in MEASURED]
    width = flower.get("petal_width")
    estimated = width is None
    if estimated:
        (widths,) = estimate_petal_width([measured])
        width = widths[0][0]
    chosen, probabilities = classify([[*measured, width]])
    return {
        "species": labels[int(chosen[0])],
        "probability": round(float(probabilities[0].max()), 4),
        "petal_width": round(float(width), 2),
        "petal_width_estimated": estimated,
    }
