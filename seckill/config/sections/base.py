"""What every section is: frozen, without unknown keys; and the names of its flags and variables."""

from typing import ClassVar

from pydantic import ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

# The prefix of our environment variables.
ENV_PREFIX = "SECKILL_"
# The unit of each timeout. The names in the file are those of the original program.
UNITS = {"timeout": "ms", "session_timeout": "ms", "connect_timeout": "s"}


def flag_of(parameter: str) -> str:
    """The flag of a parameter. That of a timeout ends with its unit."""
    unit = UNITS.get(parameter)
    return "--" + parameter.replace("_", "-") + (f"-{unit}" if unit else "")


def variable_of(section: "type[Section]", parameter: str) -> str:
    """The environment variable of a parameter: its own, or one for all sections that have it."""
    word = f"{section.name}_{parameter}" if parameter in section.own_variables else parameter
    return ENV_PREFIX + word.upper()


DEFAULT_REDIS_URL = "redis://localhost:6379/0"
DEFAULT_PG_DSN = "postgresql://postgres@localhost:5432/seckill"


class Section(BaseSettings):
    """A section of the file: frozen, without unknown keys."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        # Else the library's own error repeats the beginning of all values, passwords too.
        hide_input_in_errors=True,
    )
    name: ClassVar[str]
    # Parameters whose variable has the section's name in it, and sets no other section.
    own_variables: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` passes in: it reads the environment itself, in its own order."""
        return (init_settings,)

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: object, info: ValidationInfo) -> object:
        """YAML's `yes` is not a number, although Python takes it for 1."""
        field = cls.model_fields[str(info.field_name)]
        if isinstance(value, bool) and field.annotation is not bool:
            raise ValueError("must not be true or false (yes, no, on and off mean these in YAML)")
        return value
