"""Train the model of this example, and draw the image of its test.

The data ships inside scikit-learn and the fit has no randomness, so all can be made again from nothing:

    python3.13 -m venv /tmp/train && /tmp/train/bin/pip install scikit-learn==1.9.* pillow
    /tmp/train/bin/python train.py
"""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

HERE = Path(__file__).parent


def main() -> None:
    digits = load_digits()
    ink = digits.data / 16
    model = LogisticRegression(C=10, max_iter=2000).fit(ink[:1500], digits.target[:1500])
    print(f"{model.score(ink[1500:], digits.target[1500:]):.3f} of the digits that it never saw are read right")
    weights, bias = model.coef_.T.astype(np.float32), model.intercept_.astype(np.float32)
    np.savez(HERE / "models" / "digits.npz", weights=weights, bias=bias)

    unseen = next(index for index in range(1500, len(ink)) if digits.target[index] == 7)
    paper = 255 - np.round(ink[unseen].reshape(8, 8) * 255).astype(np.uint8)
    Image.fromarray(paper).resize((128, 128), Image.Resampling.NEAREST).save(HERE / "seven.png", optimize=True)


if __name__ == "__main__":
    main()
