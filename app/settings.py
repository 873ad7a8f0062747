"""Every setting of Linli: name with its unit, default, one line of help.

Values come from the environment (`LINLI_` + the name in capitals) or `.env`. Secrets have no defaults.
`README.md` carries this table; a test keeps the two the same.
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="LINLI_", env_file=".env", extra="ignore", frozen=True)

    # Where things are
    data_dir: Path = Field(Path("var"), description="Folder of the embedded Postgres, Valkey, logs and uploads.")
    database_url: str = Field("", description="Postgres of the app role; empty starts the embedded one.")
    database_owner_url: str = Field("", description="Postgres of the owner role, used by migrations only.")
    redis_url: str = Field("", description="Redis or Valkey; empty starts the embedded one.")
    engine_url: str = Field("", description="OpenAI-compatible base URL ending in /v1; empty starts the embedded vLLM.")

    # Web
    web_host: str = Field("127.0.0.1", description="Address the web process listens on.")
    web_port: int = Field(8080, description="Port the web process listens on.")
    public_url: str = Field("", description="Address people see, for links and OIDC redirects; empty derives it.")
    request_bytes_max: int = Field(1_000_000, description="Largest JSON body accepted.")
    requests_per_minute_max: int = Field(600, description="Requests of one caller a minute before 429.")
    sign_ins_per_minute_max: int = Field(10, description="Sign-in attempts for one login or address a minute.")
    turns_per_minute_max: int = Field(20, description="Questions of one caller a minute before 429.")
    idempotency_hours: int = Field(24, description="How long a replayed Idempotency-Key returns the first answer.")
    shutdown_seconds: float = Field(20, description="Time running turns get to finish when a process is told to stop.")

    # Identity
    secret_key: SecretStr | None = Field(
        None, description="Signs access tokens (32+ characters). `linli up` writes one to the data folder; else required."
    )
    access_token_minutes: int = Field(15, description="Life of an access token.")
    refresh_token_days: int = Field(30, description="Life of a refresh token family.")
    oidc_issuer_url: str = Field("", description="OpenID Connect issuer; empty closes that door.")
    oidc_client_id: str = Field("", description="Client id at the issuer.")
    oidc_client_secret: SecretStr | None = Field(None, description="Client secret at the issuer.")

    # Database
    database_pool_connections: int = Field(10, description="Connections a process keeps to Postgres.")
    database_statement_seconds: float = Field(5, description="Longest statement of the app role.")

    # Engine (vLLM, or any OpenAI-compatible server)
    engine_kind: Literal["auto", "vllm", "openai"] = Field(
        "auto", description="Which fields the engine understands; auto asks its /version once."
    )
    engine_model: str = Field("", description="Model name sent to the engine; empty takes the first it lists.")
    engine_api_key: SecretStr | None = Field(None, description="Bearer key of the engine, if it wants one.")
    engine_slots_max: int = Field(16, description="Requests this process runs at the engine at once.")
    engine_connect_seconds: float = Field(3, description="Longest wait for a connection to the engine.")
    engine_first_token_seconds: float = Field(45, description="Longest wait for the first token of an answer.")
    engine_between_tokens_seconds: float = Field(15, description="Longest pause between two tokens.")
    engine_total_seconds: float = Field(180, description="Longest time for one answer.")
    engine_attempts_max: int = Field(2, description="Tries of one request; only before its first token came.")
    engine_state_seconds: float = Field(2, description="How long a look at the engine's state stays valid.")
    engine_canary_seconds: float = Field(30, description="Quiet time after which one token is asked for as a test.")
    breaker_failures_max: int = Field(5, description="Engine failures within the window that open the breaker.")
    breaker_window_seconds: float = Field(60, description="Window in which engine failures are counted.")
    breaker_open_seconds: float = Field(5, description="Rest before a broken engine is tried again.")

    # Engine that `linli up` starts itself
    starter_model: str = Field(
        "", description="Folder, hub id, starter-1.5b or starter-0.5b; empty picks by machine (models/recommended.py)."
    )
    engine_context_tokens_max: int = Field(4_096, description="Longest prompt plus answer of the embedded engine.")
    engine_requests_max: int = Field(32, description="Requests the embedded engine batches at once.")
    engine_kv_gib: int = Field(1, description="Memory for the embedded CPU engine's KV cache.")
    engine_torch_index: str = Field("", description="Package index for torch only; empty takes pip's own.")
    keep_bf16: bool = Field(False, description="Keep the bf16 form of a starter model too (LoRA training needs it).")

    # Chat
    turn_text_chars_max: int = Field(4_000, description="Longest question.")
    history_turns_max: int = Field(6, description="Earlier turns shown to the model at most.")
    history_tokens_max: int = Field(800, description="Estimated tokens of history shown to the model at most.")
    answer_tokens_max: int = Field(400, description="Tokens of an answer at most.")
    passages_per_answer_max: int = Field(4, description="Passages shown to the model at most.")
    quotes_per_answer_max: int = Field(3, description="Quotes shown to the resident at once at most.")

    log_json: bool = Field(True, description="Logs as JSON lines; false prints them for people.")
    log_level: str = Field("INFO", description="Lowest level that is logged.")
    telemetry_url: str = Field("", description="OTLP/HTTP endpoint for OpenTelemetry traces; empty sends none.")


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process, read once."""
    return Settings()
