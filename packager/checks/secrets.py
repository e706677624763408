"""Keys and tokens inside files that are packaged: a short list of forms that are hardly ever anything else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from packager.finding import Finding
from packager.given import read_given
from packager.plan.plan import Plan

#: Larger files are weights and data.
MAX_BYTES = 1 << 20

# Each token is in the form that its issuer documents; a group of that name says what it is.
_FORMS = {
    "private_key": rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----(?:\\n|\s)",
    "AWS_access_key": rb"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "GitHub_token": rb"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{82})\b",
    "GitLab_token": rb"\bglpat-[A-Za-z0-9_-]{20,}",
    "Hugging_Face_token": rb"\bhf_[A-Za-z0-9]{34}\b",
    "Google_API_key": rb"\bAIza[A-Za-z0-9_-]{35}\b",
    "Azure_storage_key": rb"\bAccountKey=[A-Za-z0-9+/]{86}==",
    "Slack_token": rb"\bxox[abeprs]-[A-Za-z0-9-]{20,}",
    "OpenAI_key": rb"\bsk-(?:proj-)?[A-Za-z0-9_-]{20,}T3BlbkFJ[A-Za-z0-9_-]{20,}",
    "Stripe_key": rb"\b[rs]k_live_[A-Za-z0-9]{24,}",
    "npm_token": rb"\bnpm_[A-Za-z0-9]{36}\b",
    "PyPI_token": rb"\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}",
    "AWS_secret_key": rb"(?i:aws_secret_access_key)[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9/+]{40}\b",
    "Azure_client_secret": rb"\b[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}",
    "Azure_shared_access_key": rb"\bSharedAccessKey=[A-Za-z0-9+/]{43}=",
    "Azure_shared_access_signature": rb"[?&]sig=(?:[A-Za-z0-9]|%2[bBfF]){20,}%3[dD]",
    "Databricks_token": rb"\bdapi[0-9a-f]{32}\b",
    "Anthropic_key": rb"\bsk-ant-[a-z0-9]+-[A-Za-z0-9_-]{80,}",
    "SendGrid_key": rb"\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}",
    # Not where a name or a mark stands in the password's place: {password}, <password>, $PASSWORD, %s, ***.
    "password_in_a_URL": rb"\b(?:postgres(?:ql)?|mysql|mariadb|mssql|oracle|mongodb|rediss?|amqps?)(?:\+[a-z0-9]+)?://"
    rb"[^\s:/@\"']+:(?!(?i:pass|password|passwd|pwd|secret|changeme|x+)@)[^\s:/@\"'{}<>$%*]{4,}@(?!localhost|127\.)",
}
# What they start with or hold: https://www.rfc-editor.org/rfc/rfc7292, and `sun.security.provider.JavaKeyStore`: mark,
# version, count, and 1 for an entry that is a private key.
_KEY_STORES = re.compile(rb"\xfe\xed\xfe\xed.{8}\0\0\0\x01", re.DOTALL)
_PKCS_12 = (".p12", ".pfx")
_ANY = re.compile(b"|".join(b"(?P<%s>%s)" % (name.encode(), form) for name, form in _FORMS.items()))


def secret_findings(plan: Plan, root: Path) -> Iterator[Finding]:
    """Yield a warning for each small file of an image that holds what looks like a key or a token; never its text.

    Args:
        plan: of the image.
        root: the folder of the spec.
    """
    for file in (each for layer in plan.layers for each in layer.tree.files):
        if not file.origin or file.size > MAX_BYTES:
            continue
        try:
            # A registered model's file is where packager laid it down.
            data = read_given(root / file.origin, MAX_BYTES, None if file.origin.startswith("/") else root)
        except OSError:
            continue  # the scan of the sources has read it a moment ago; it will say so the next time
        for what, line in _secrets(file.origin, data):
            yield Finding(
                rule="secret-packaged",
                severity="warning",
                message=f"holds what looks like a secret ({what}): who gets the image can read it",
                file=file.origin,
                line=line,
                remedy="take it out, revoke it if it is real, and give it to the container when it runs",
            )


def _secrets(path: str, data: bytes) -> Iterator[tuple[str, int | None]]:
    """Yield what a file holds, each kind once, with its line."""
    if _KEY_STORES.match(data) or (path.lower().endswith(_PKCS_12) and data[:1] == b"\x30"):
        yield "key store", None
        return
    told = set()
    for found in _ANY.finditer(data):
        what = str(found.lastgroup).replace("_", " ")
        if what not in told:
            told.add(what)
            yield what, data.count(b"\n", 0, found.start()) + 1
