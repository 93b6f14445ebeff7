"""Configuration of a process: defaults < TOML file < environment. For entry points only."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENV_PREFIX = "SEAWALL_"
Config = TypeVar("Config", bound="ProcessConfig")
Port = Annotated[int, Field(ge=0, le=65535)]


class ConfigFault(Exception):
    """The configuration cannot be used; the message names each field and what is wrong with it."""


class ProcessConfig(BaseSettings):
    """What every process of a house is told.

    Attributes
    ----------
    name : one word, unique in the house
    urls : nodes of the broker, in the order in which they are tried
    genesis_file : the house's genesis; only the log that begins with it is followed
    folder : what the process keeps; its own
    ready_file : appears once the process does its work, with its pid in it
    log_file : structured log, JSON lines; standard error if it is not given
    metrics_port : where figures can be had on loopback, 0 for any free port; nowhere if not given
    """

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
    urls: Annotated[tuple[str, ...], Field(min_length=1)]
    genesis_file: Path
    folder: Path
    ready_file: Path | None = None
    log_file: Path | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: Port | None = None
    patience_s: Annotated[float, Field(gt=0)] = 60.0
    """How long the broker may take to answer at the start."""


class ReplicaConfig(ProcessConfig):
    """What a replica process is told; `key_file` holds the seed it signs votes with."""

    key_file: Path
    vote_interval_s: Annotated[float, Field(gt=0)] = 0.005
    status_interval_s: Annotated[float, Field(gt=0)] = 1.0
    archive: str = ""


class AuditorConfig(ProcessConfig):
    """What an auditor process is told."""

    status_interval_s: Annotated[float, Field(gt=0)] = 1.0


def load_config(kind: type[Config], path: Path | None, **given: Any) -> Config:
    """Return the configuration of a process.

    Parameters
    ----------
    path : a TOML file; None for defaults and environment alone
    given : values that win over everything, as from a command line

    Raises
    ------
    ConfigFault
        One line for each field that is missing, unknown or wrong.
    """

    class Sourced(kind):  # type: ignore[valid-type, misc]
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            if path is None:
                return init_settings, env_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    if path is not None and not path.is_file():
        raise ConfigFault(f"{path}: no such file")
    try:
        loaded: Config = Sourced(**given)
    except ValidationError as fault:
        raise ConfigFault(_explain(fault)) from fault
    except ValueError as fault:
        # A file that is no TOML, or an environment variable that is no JSON where one is asked for.
        raise ConfigFault(f"{path or 'environment'}: {fault}") from fault
    return loaded


def _explain(fault: ValidationError) -> str:
    lines = []
    for error in fault.errors(include_url=False, include_context=False):
        field = ".".join(str(part) for part in error["loc"])
        variable = f"{ENV_PREFIX}{field.split('.')[0].upper()}"
        lines.append(f"{field}: {error['msg']} (set it in the file or as {variable})")
    return "\n".join(lines)


def write_toml(path: Path, values: dict[str, str | int | float | list[str]]) -> None:
    """Write a flat TOML file; its strings are names and paths, with no control characters."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _toml(value: str | float | list[str]) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return str(value)
