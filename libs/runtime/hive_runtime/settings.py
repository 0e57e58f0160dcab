"""Settings: a pydantic model filled from a section of `hive.toml` and from `HIVE_<SECTION>_<KEY>` variables.

The environment wins over the file, the file over the defaults. Every mistake is one sentence that names the key and
the line. (pydantic-settings does neither, and costs each process 0.2 s and 15 MB.)
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hive_contracts.toml_place import line_of
from hive_runtime.errors import SettingsError

FILE_NAME: Final = "hive.toml"


class Settings(BaseModel):
    """Base of each service's settings. Unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


S = TypeVar("S", bound=Settings)


def load(model: type[S], section: str, *, data_dir: Path | None, environ: Mapping[str, str]) -> S:
    """The settings of `section`; without a `data_dir`, from the environment alone. Raises `SettingsError`."""
    path = (data_dir or Path()) / FILE_NAME
    text, tables = read_file(path) if data_dir else ("", {})
    found = tables.get(section, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{path}:{line_of(text, (section,))}: [{section}] must be a table")
    prefix = f"HIVE_{section}_".upper()
    overrides = {
        name: environ[prefix + name.upper()] for name in model.model_fields if environ.get(prefix + name.upper())
    }
    try:
        return model.model_validate(found | overrides)
    except ValidationError as error:
        raise SettingsError(_explain(error, path, text, section, overrides)) from error


def read_file(path: Path) -> tuple[str, dict[str, Any]]:
    """The file's text and tables; both empty when there is none. Raises `SettingsError`."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return "", {}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"cannot read {path}: {error}") from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from error


def check_sections(path: Path, known: Mapping[str, type[Settings]], environ: Mapping[str, str]) -> None:
    """Load every section of the file and refuse unknown ones. Raises `SettingsError`."""
    text, tables = read_file(path)
    for section in tables:
        if section not in known:
            place = f"{path}:{line_of(text, (section,))}"
            raise SettingsError(f"{place}: unknown section [{section}]; known are {', '.join(sorted(known))}")
    for section, model in known.items():
        load(model, section, data_dir=path.parent, environ=environ)


def _explain(error: ValidationError, path: Path, text: str, section: str, overrides: Mapping[str, str]) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else section
    if key in overrides:
        return f"HIVE_{section}_{key} ".upper() + f"is not valid: {first['msg']} (it is {overrides[key]!r})"
    reason = "no such setting" if first["type"] == "extra_forbidden" else first["msg"]
    return f"{path}:{line_of(text, (section, key))}: {section}.{key}: {reason}"
