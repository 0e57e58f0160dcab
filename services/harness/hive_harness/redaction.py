"""Secrets of known forms, out of every text that leaves the container.

A net against accidents: a key in a tool's output, in a command line, in an error. It is none against an agent that
means to tell, which can spell a secret in any way it likes.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

SHORTEST: Final = 8
"""Own secrets shorter than this are not looked for: too much else would be hit."""

_FRESH: Final = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
"""Begins here: after anything but a letter or digit, or after JSON's way to write the end of a line."""

_IS: Final = r"[\"'\\]{0,4}\s{0,4}[:=]\s{0,4}[\"'\\]{0,4}"
"""Between a name and its value, in headers, settings, JSON, and JSON within JSON."""

_VALUE: Final = r"[^\s\"'\\,;]"

_FORMS: Final = (
    ("anthropic", ("sk-ant-",), r"sk-ant-[\w-]{8,}"),
    ("openai", ("sk-",), _FRESH + r"sk-(?:(?:proj|svcacct|admin)-[\w-]{20,}|[A-Za-z0-9]{32,})"),
    ("github", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"gh[pousr]_[A-Za-z0-9]{20,}"),
    ("github", ("github_pat_",), r"github_pat_\w{20,}"),
    ("gitlab", ("glpat-",), r"glpat-[\w-]{20,}"),
    ("slack", ("xox", "xapp-"), r"(?:xox[a-z]|xapp)-[A-Za-z0-9-]{10,}"),
    ("slack", ("hooks.slack",), r"hooks\.slack\.com/services/[\w/]{10,}"),
    ("aws", ("akia", "asia", "abia", "acca"), _FRESH + r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"),
    ("google", ("aiza",), _FRESH + r"AIza[\w-]{35}"),
    ("stripe", ("k_live_",), r"[rs]k_live_[A-Za-z0-9]{16,}"),
    ("npm", ("npm_",), r"npm_[A-Za-z0-9]{36}"),
    ("pypi", ("pypi-",), r"pypi-AgE[\w-]{20,}"),
    ("jwt", ("eyj",), _FRESH + r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    (
        "authorization",
        ("authorization",),
        rf"(?i)(authorization{_IS}(?:(?:bearer|basic|token)\s{{1,4}})?){_VALUE}{{4,}}",
    ),
    ("bearer", ("bearer",), r"(?i)(bearer\s{1,4})[A-Za-z0-9._~+/=-]{16,}"),
    ("api-key", ("x-api-key",), rf"(?i)(x-api-key{_IS}){_VALUE}{{8,}}"),
    ("aws", ("aws_se",), rf"(?i)(aws_(?:secret_access_key|session_token){_IS})[A-Za-z0-9/+=]{{16,}}"),
    ("password", ("://",), r"([a-z+]{2,20}://[^\s/:@\"']{0,100}:)[^\s/@\"']{1,200}(?=@)"),
    (
        "private-key",
        ("private key",),
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}KEY[^-]*-----|\Z)",
    ),
)
"""What it is; one of these stands, in small letters, in every text that holds one; how it looks: all of which goes, but
for a first group."""


def _instead(what: str, pattern: re.Pattern[str]) -> str:
    kept = r"\g<1>" if pattern.groups else ""
    return f"{kept}[redacted:{what}]"


_COMPILED: Final = [(what, signs, re.compile(form, re.DOTALL | re.ASCII)) for what, signs, form in _FORMS]
_RULES: Final = tuple((signs, pattern, _instead(what, pattern)) for what, signs, pattern in _COMPILED)


class Redactor:
    """`own`: this harness's secrets, which have no form to be known by."""

    def __init__(self, own: Iterable[str] = ()) -> None:
        self._own: list[str] = []
        self.learn(*own)

    def learn(self, *secrets: str) -> None:
        known = {*self._own, *(secret for secret in secrets if len(secret) >= SHORTEST)}
        self._own = sorted(known, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text` with `[redacted:…]` for each secret. Done twice it is the same as done once."""
        for secret in self._own:
            text = text.replace(secret, "[redacted:own]")
        low = text.lower()
        for signs, pattern, instead in _RULES:
            if any(sign in low for sign in signs):
                text = pattern.sub(instead, text)
        return text

    def value(self, value: Any) -> Any:
        """The same for every text, keys too, in a JSON value."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.value(item) for key, item in value.items()}
            case list() | tuple():
                return [self.value(item) for item in value]
            case _:
                return value
