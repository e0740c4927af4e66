"""Every setting of the gateway, from flags, the environment and a TOML file, in this order of precedence."""

import os
from functools import cached_property
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

ENVIRONMENT_PREFIX = "SADTALKER_GATEWAY_"
CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"


class Settings(BaseSettings):
    """Serve talking-head videos over HTTP, with a page at /.

    Every setting is a flag, an environment variable (SADTALKER_GATEWAY_ and its name in capitals) or a line of the TOML
    file that --config FILE names; the first of these that is there counts. Keys belong into the environment or the
    file: flags can be seen by other users of a machine. --version prints the version. Every video is marked as
    AI-generated. The guide is gateway/README.md.
    """

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        extra="forbid",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        cli_prog_name="sadtalker-gateway",
    )

    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    log_level: str = Field(
        default="warning",
        pattern="^(error|warning|info|debug)$",
        description="what is written to stderr: error, warning, info (every request, without its headers) or debug",
    )
    allowed_origins: list[str] = Field(
        default=[], description="origins whose pages may call the API (CORS); none by default"
    )

    proxies: list[str] = Field(
        default=[],
        description="addresses or networks of reverse proxies, whose X-Forwarded-For tells who calls; without, callers "
        "without a key share one rate behind a proxy",
    )
    stop_seconds: int = Field(
        default=5, ge=0, description="how long answers, and then videos, under way may go on after SIGTERM"
    )

    triton_url: str = Field(
        default="127.0.0.1:8001",
        description="gRPC address of the SadTalker server; dns:///NAME:8001 spreads videos over a name's addresses",
    )
    triton_tls: bool = Field(default=False, description="encrypt the connection to it")
    triton_root_certificates: Path | None = Field(
        default=None, description="PEM file of the authorities to trust for it"
    )
    triton_certificate: Path | None = Field(
        default=None, description="PEM chain with which the gateway identifies itself to it (mutual TLS)"
    )
    triton_private_key: Path | None = Field(default=None, description="its private key, PEM")
    triton_seconds: float = Field(
        default=900, gt=0, description="longest time for one sentence's or recording's animation"
    )

    store: str = Field(
        default="file://sadtalker-videos",
        description="where portraits and videos lie: file://FOLDER, s3://BUCKET/PREFIX, az://CONTAINER/PREFIX, "
        "gs://BUCKET/PREFIX; credentials come from the provider's own environment variables",
    )
    store_options: dict[str, str] = Field(
        default={}, description="further options of the store, such as endpoint (JSON)"
    )
    signed_url_seconds: int = Field(
        default=3600, gt=0, le=604_800, description="how long a signed URL of the store is valid"
    )
    retention_hours: float = Field(default=168, gt=0, description="age at which videos and portraits are deleted")

    api_keys: list[SecretStr] = Field(
        default=[], description="accepted bearer tokens; none: everybody may call (JSON list)"
    )
    requests_per_minute: int = Field(
        default=120, gt=0, description="creations accepted per key and minute, by each replica"
    )
    videos_per_key: int = Field(default=32, gt=0, description="videos that a key may have waiting or in progress")
    videos_at_once: int = Field(default=16, gt=0, description="videos in progress; further ones wait")
    videos_waiting: int = Field(default=64, ge=0, description="videos that may wait before 503 is answered")
    batch_size: int = Field(default=32, gt=0, description="videos that one call may ask for")
    upload_bytes: int = Field(default=64 * 2**20, gt=0, description="largest request body")
    upload_seconds: float = Field(default=120, gt=0, description="longest time for receiving a request body")
    text_characters: int = Field(default=5000, gt=0, description="longest text to speak")

    speech_url: str | None = Field(
        default=None, description="base URL of an OpenAI-compatible /v1/audio/speech endpoint; eSpeak NG without"
    )
    speech_key: SecretStr | None = Field(default=None, description="its key")
    speech_model: str = Field(default="tts-1", description="its model")
    speech_voices: list[str] = Field(default=["alloy"], description="its voices, the default one first")
    speech_seconds: float = Field(default=60, gt=0, description="longest time for the synthesis of one sentence")
    speech_parallel: int = Field(default=4, gt=0, description="sentences of one text synthesised at the same time")

    chat_url: str | None = Field(
        default=None,
        description="base URL of an OpenAI-compatible /v1/chat/completions endpoint; without, text is repeated",
    )
    chat_key: SecretStr | None = Field(default=None, description="its key")
    chat_model: str = Field(default="gpt-4o-mini", description="its model")
    chat_system_prompt: str = Field(
        default="You are a friendly conversation partner who is seen and heard. Answer in a few short spoken "
        "sentences, without lists, headings or markup.",
        description="what the chat model is told before the conversation",
    )
    chat_seconds: float = Field(default=120, gt=0, description="longest time for the chat model's whole reply")

    idle_seconds: float = Field(default=4, ge=1, le=30, description="length of the idle loop of a portrait")
    quality: str = Field(default="low", pattern="^(low|high)$", description="quality where a caller names none")

    c2pa_certificate: Path | None = Field(
        default=None, description="PEM chain with which finished videos are signed (C2PA)"
    )
    c2pa_private_key: Path | None = Field(default=None, description="its private key, PEM")
    c2pa_algorithm: str = Field(
        default="es256", pattern="^(es256|es384|es512|ps256|ps384|ps512|ed25519)$", description="its algorithm"
    )
    c2pa_timestamp_url: str | None = Field(default=None, description="RFC 3161 time-stamping authority")

    heartbeat_seconds: float = Field(
        default=5, gt=0, le=8, description="how often a video in progress says that it lives"
    )

    @cached_property
    def interrupted_after_seconds(self) -> float:
        """Return how long a silence may be after which a video in progress counts as abandoned by its replica."""
        return 6 * self.heartbeat_seconds

    def model_post_init(self, _: Any) -> None:
        """Refuse settings that only make sense together."""
        for kind in ("c2pa", "triton"):
            if (getattr(self, f"{kind}_certificate") is None) != (getattr(self, f"{kind}_private_key") is None):
                raise ValueError(f"expected {kind}_certificate and {kind}_private_key together, got one of them")
        for proxy in self.proxies:
            ip_network(proxy)  # its ValueError says what is wrong

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags and arguments first, then the environment, then the file that CONFIG_VARIABLE names."""
        sources = [init_settings, env_settings]
        if path := os.environ.get(CONFIG_VARIABLE):
            if not Path(path).is_file():
                raise ValueError(f"{CONFIG_VARIABLE}: expected a TOML file, got {path}")
            sources.append(TomlConfigSettingsSource(settings_cls, path))
        return tuple(sources)
