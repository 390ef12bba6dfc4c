"""Settings of a service."""

from __future__ import annotations

import re

from pydantic import Field, SecretStr, field_validator

from shared_utils.addresses import is_loopback
from shared_utils.config import SettingsModel
from shared_utils.errors import ConfigError

MIN_TOKEN_CHARACTERS = 16


class ServiceSettings(SettingsModel):
    """How a service listens and what it lets in.

    Example:
        >>> ServiceSettings().needs_token
        False
        >>> ServiceSettings(host="0.0.0.0").check()  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        shared_utils.errors.ConfigError: listening on 0.0.0.0 needs a token: others can reach it; ...
    """

    host: str = Field(default="127.0.0.1", min_length=1)
    """Address or name to listen on; 127.0.0.1 is this machine alone, 0.0.0.0 every interface."""
    port: int = Field(default=8000, ge=0, le=65535)
    """TCP port; 0 takes a free one."""
    token: SecretStr | None = Field(default=None, min_length=MIN_TOKEN_CHARACTERS)
    """Secret that clients send as `Authorization: Bearer ...`; null lets every program of this machine in."""
    max_body_bytes: int = Field(default=10 * 2**20, ge=1)
    """Largest request body in bytes."""
    max_message_bytes: int = Field(default=8 * 2**20, ge=1)
    """Largest WebSocket message of a client in bytes."""
    cors_origins: tuple[str, ...] = ()
    """Web pages of other origins that may use the service, as scheme://host:port."""
    allowed_hosts: tuple[str, ...] = ()
    """Host names under which clients may address the service besides this machine's own; with a token every name goes."""
    readiness_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds after which a readiness check counts as failed."""
    shutdown_timeout_s: float = Field(default=10.0, ge=0)
    """Seconds that running requests get to finish when the service stops."""

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not re.fullmatch(r"https?://[^\s/?#@*]+", origin):
                raise ValueError(f"{origin!r} is no origin; write scheme://host:port without a path, for example https://example.org")
        return origins

    @field_validator("token")
    @classmethod
    def _is_sendable(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token.get_secret_value()):
            raise ValueError("a token has printable ASCII characters without spaces")
        return token

    @property
    def needs_token(self) -> bool:
        """True when clients must send the token."""
        return self.token is not None

    def check(self) -> None:
        """Refuse to listen where others can reach the service without a token.

        Raises:
            ConfigError: The host is not this machine's loopback and there is no token.
        """
        if self.token is None and not is_loopback(self.host):
            raise ConfigError(
                f"listening on {self.host} needs a token: others can reach it; "
                f"set one of {MIN_TOKEN_CHARACTERS} or more characters, or host 127.0.0.1"
            )
