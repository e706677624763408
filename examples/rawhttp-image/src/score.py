"""Read the handwritten digit in an image (PNG, JPEG, …; dark ink on light paper).

POST the image's bytes to /score. The answer is JSON {"digit", "probability"}; with ?show=seen it is a PNG of the 8 x 8
pixels that the model sees.
"""

import io
import os
from pathlib import Path

import numpy as np
from azureml.contrib.services.aml_request import rawhttp
from azureml.contrib.services.aml_response import AMLResponse
from PIL import Image, ImageOps, UnidentifiedImageError

LARGEST = 4096  # pixels on a side

weights = bias = None


def init():
    """Load the model. The server calls this once in each worker, before the first request."""
    global weights, bias
    with np.load(Path(os.environ["AZUREML_MODEL_DIR"]) / "digits.npz") as file:
        weights, bias = file["weights"], file["bias"]


@rawhttp
def run(request):
    """Answer one request; it is Flask's, and so has method, args, headers and the body as bytes."""
    if request.method != "POST":
        return AMLResponse("post an image", 405, {"Allow": "POST"})
    try:
        pixels = seen(request.get_data())
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return AMLResponse("this is no image that can be read", 400, {"Content-Type": "text/plain"})
    if request.args.get("show") == "seen":
        return AMLResponse(png(pixels), 200, {"Content-Type": "image/png"})
    logits = pixels.ravel() @ weights + bias
    likely = np.exp(logits - logits.max())
    likely /= likely.sum()
    digit = int(likely.argmax())
    return AMLResponse({"digit": digit, "probability": round(float(likely[digit]), 4)}, 200, json_str=True)


def seen(data):
    """Return the 8 x 8 pixels of an image, 0 for paper to 1 for ink."""
    with Image.open(io.BytesIO(data)) as image:
        if max(image.size) > LARGEST:
            raise ValueError("too large")
        gray = ImageOps.invert(image.convert("L")).resize((8, 8), Image.Resampling.BOX)
    return np.asarray(gray, dtype=np.float64) / 255


def png(pixels):
    """Return pixels as the bytes of a PNG."""
    stream = io.BytesIO()
    # Not compressed, so that every zlib writes the same bytes and a test can compare them.
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(stream, "PNG", compress_level=0)
    return stream.getvalue()
