"""The step `verify`: every digest of a saved build context, recomputed."""

from __future__ import annotations

from packager.context.verify import Difference, VerifyResult, verify

__all__ = ["Difference", "VerifyResult", "verify"]
