"""What the models of a configuration have in common."""

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """A part of a configuration: it does not change, and has no keys but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")
