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
    engine_url: str = Field(
        "", description="OpenAI-compatible base URL ending in /v1, or several by comma; empty starts the embedded vLLM."
    )

    # `linli up`
    seed_practice: bool = Field(True, description="Fill a new embedded database with the practice community.")
    restart_seconds_max: float = Field(60, description="Longest pause before a crashed process is started again.")

    # Web
    web_host: str = Field("127.0.0.1", description="Address the web process listens on.")
    web_port: int = Field(8080, description="Port the web process listens on.")
    public_url: str = Field("", description="Address people see, for links and OIDC redirects; empty derives it.")
    trusted_proxies: str = Field(
        "", description="Addresses of your own proxies, by comma; X-Forwarded-For and -Proto of others is ignored."
    )
    request_bytes_max: int = Field(1_000_000, description="Largest JSON body accepted.")
    requests_per_minute_max: int = Field(600, description="Requests of one caller a minute before 429.")
    sign_ins_per_minute_max: int = Field(10, description="Sign-in attempts for one login or address a minute.")
    turns_per_minute_max: int = Field(20, description="Questions of one caller a minute before 429.")
    emergencies_per_minute_max: int = Field(
        10, description="Emergencies of one address, signed in or not, a minute before 429 at the open door."
    )
    idempotency_hours: int = Field(24, description="How long a replayed Idempotency-Key returns the first answer.")
    shutdown_seconds: float = Field(20, description="Time running turns get to finish when a process is told to stop.")

    # Identity
    secret_key: SecretStr | None = Field(
        None,
        description="Signs access tokens (32+ characters). `linli up` writes one to the data folder; else required.",
    )
    access_token_minutes: int = Field(15, description="Life of an access token.")
    refresh_token_days: int = Field(30, description="Life of a refresh token family.")
    oidc_issuer_url: str = Field("", description="OpenID Connect issuer; empty closes that door.")
    oidc_client_id: str = Field("", description="Client id at the issuer.")
    oidc_client_secret: SecretStr | None = Field(None, description="Client secret at the issuer.")
    oidc_link_by_email: bool = Field(
        False, description="Link a first OIDC sign-in to the account whose login is its verified e-mail address."
    )
    password_chars_min: int = Field(10, description="Shortest password that may be set.")
    api_keys_max: int = Field(100, description="Living API keys of one community at most.")

    audit_days: int = Field(730, description="Days the audit log is kept; Chinese law asks for six months at least.")

    # Database
    database_pool_connections: int = Field(10, description="Connections a process keeps to Postgres.")
    redis_pool_connections: int = Field(100, description="Connections a process keeps to Redis at most.")
    database_statement_seconds: float = Field(5, description="Longest statement of the app role.")

    # Engine (vLLM, or any OpenAI-compatible server)
    engine_kind: Literal["auto", "vllm", "openai"] = Field(
        "auto", description="Which fields the engine understands; auto asks its /version once."
    )
    engine_model: str = Field("", description="Model name sent to the engine; empty takes the first it lists.")
    engine_api_key: SecretStr | None = Field(None, description="Bearer key of the engine, if it wants one.")
    engine_slots_max: int = Field(8, description="Requests a process runs at the engine at once; raise for a GPU.")
    engine_connect_seconds: float = Field(3, description="Longest wait for a connection to the engine.")
    engine_first_token_seconds: float = Field(90, description="Longest wait for the first token of an answer.")
    engine_between_tokens_seconds: float = Field(30, description="Longest pause between two tokens.")
    engine_total_seconds: float = Field(180, description="Longest time for one answer.")
    engine_attempts_max: int = Field(2, description="Tries of one request; only before its first token came.")
    engine_refusing_seconds_max: float = Field(
        20, description="Refusals (503, 429) for so long count as a failure, and quotes stand in."
    )
    engine_state_seconds: float = Field(2, description="How long a look at the engine's state stays valid.")
    engine_stall_seconds_min: float = Field(
        5, description="Silence of the whole engine that may mean it hangs; longer where it is slow (engine_pace.py)."
    )
    engine_canary_seconds: float = Field(10, description="Quiet time after which one token is asked for as a test.")
    engine_canary_wait_seconds: float = Field(10, description="Longest wait for the first such token of an engine.")
    breaker_failures_max: int = Field(5, description="Engine failures within the window that open the breaker.")
    breaker_window_seconds: float = Field(60, description="Window in which engine failures are counted.")
    breaker_open_seconds: float = Field(5, description="Rest before a broken engine is tried again.")

    # Engine that `linli up` starts itself
    engine_mode: Literal["embedded", "off"] = Field(
        "embedded", description="Off runs without a model: quotes, forms and emergencies still work."
    )
    starter_model: str = Field(
        "", description="Folder, hub id, starter-1.5b or starter-0.5b; empty picks by machine (models/recommended.py)."
    )
    engine_context_tokens_max: int = Field(4_096, description="Longest prompt plus answer of the embedded engine.")
    engine_requests_max: int = Field(32, description="Requests the embedded engine batches at once.")
    engine_kv_gib: int = Field(1, description="Memory for the embedded CPU engine's KV cache.")
    engine_torch_index: str = Field("", description="Package index for torch only; empty takes pip's own.")
    keep_bf16: bool = Field(False, description="Keep the bf16 form of a starter model too (LoRA training needs it).")

    # Knowledge
    embedder_url: str = Field("", description="OpenAI-compatible base URL ending in /v1; empty embeds in this process.")
    embedder_model: str = Field("", description="Model name at `embedder_url`; recorded with every vector.")
    embedder_key: SecretStr | None = Field(None, description="API key at `embedder_url`.")
    embedder_width: int = Field(0, description="Width of its vectors; 0 asks the server at the start.")
    embedder_seconds: float = Field(30, description="Longest wait for one embedding call.")
    embedder_texts_per_call: int = Field(64, description="Texts in one embedding call.")
    embedder_query_prefix: str = Field("", description="What the model at `embedder_url` wants before a question.")
    embedder_passage_prefix: str = Field("", description="What the model at `embedder_url` wants before a passage.")
    embedder_threads: int = Field(2, description="Threads of the embedder in this process.")
    upload_bytes_max: int = Field(20_000_000, le=100_000_000, description="Largest file accepted.")
    document_chars_max: int = Field(2_000_000, description="Longest text of one document.")
    document_passages_max: int = Field(5_000, description="Passages of one document at most.")
    passage_chars_max: int = Field(420, description="Longest passage, in Chinese characters; English gets 2.5 times.")
    parser_seconds: float = Field(30, description="Wall time a file's parser gets before its process is ended.")
    parser_cpu_seconds: int = Field(20, description="Processor time a file's parser gets.")
    parser_processes_max: int = Field(2, description="Parsers that run at once in one process; further files wait.")
    parser_memory_bytes: int = Field(1_500_000_000, description="Address space of a parser's process.")
    unpacked_bytes_max: int = Field(200_000_000, description="Sum of the files inside a docx or xlsx.")
    approved_answer_similarity_min: float = Field(0.93, description="Cosine above which an approved answer is given.")
    approved_answer_cover_min: float = Field(
        0.6, description="Share of a question's wording that an approved answer or its questions must mention."
    )
    answerable_score_min: float = Field(
        0.6,
        description="Probability that the found passages answer, below which the answer is the fixed not-found one.",
    )
    retrieval: bool = Field(
        True,
        description="False asks the engine without documents: for measurement. With nothing to check a number against, "
        "an answer that holds one is not shown.",
    )
    search_candidates: int = Field(100, description="Passages of each language that meaning and wording each propose.")
    document_wait_seconds: float = Field(60, description="Age at which the sweeper sends a waiting document again.")

    # Service desk
    files_url: str = Field(
        "",
        description="Photos, documents, trained rankers: s3://bucket/folder, gs:// or az://; empty: data_dir/files.",
    )
    files_per_order_max: int = Field(30, description="Photos and documents of one work order.")
    photo_pixels_max: int = Field(60_000_000, description="Pixels of the largest photo that is unpacked.")
    photo_side_pixels_max: int = Field(2_560, description="Longest side of a photo as it is kept.")

    # Recommendations
    recommend_limit_max: int = Field(50, description="Items of one list of recommendations at most.")
    recommend_statistics_seconds: float = Field(
        300, description="Age at which what is popular is counted anew, beside the request that finds it so old."
    )
    recommend_shown_days: int = Field(14, description="Days in which an item that was shown too often rests.")
    recommendation_list_days: int = Field(
        180, description="How long lists that were shown are kept, for exposure and estimates."
    )
    ranker_training_hours: float = Field(
        24, description="Pause between two trainings of a community's ranker by themselves; 0: only by hand."
    )
    ranker_training_events_max: int = Field(5_000_000, description="Newest events that one training reads at most.")
    ranker_training_people_min: int = Field(
        30, description="People whose later doings a new ranker is compared on, at least, before it may go live."
    )
    ranker_wait_seconds: float = Field(120, description="Age at which the sweeper sends a waiting training again.")

    # Imports and exports
    import_rows_max: int = Field(50_000, description="Rows of one imported file at most.")
    background_jobs_max: int = Field(10, description="Imports and exports of one community under way at most.")
    background_job_days: int = Field(14, description="How long an import's report and an exported file are kept.")
    background_job_wait_seconds: float = Field(
        60, description="Age at which the sweeper sends a waiting import or export again."
    )

    # Chat
    turn_text_chars_max: int = Field(4_000, description="Longest question.")
    history_turns_max: int = Field(6, description="Earlier turns shown to the model at most.")
    history_tokens_max: int = Field(800, description="Estimated tokens of history shown to the model at most.")
    answer_tokens_max: int = Field(400, description="Tokens of an answer at most.")
    unsure_score_min: float = Field(
        0.3, description="From this score on, a ready engine is asked whether the passages answer; below, they do not."
    )
    unsure_score_max: float = Field(0.9, description="From this score on, the passages answer without asking.")
    unsure_share_min: float = Field(0.65, description="How sure the engine must be that they answer.")
    triage_engine: bool = Field(
        True,
        description="Whether triage asks the engine what rules left open; false keeps it for residents' questions.",
    )
    match_embedding_seconds: float = Field(
        3, description="Longest wait for the meaning of a report before it is matched by its words alone."
    )
    passages_per_answer_max: int = Field(4, description="Passages shown to the model at most.")
    quotes_per_answer_max: int = Field(3, description="Quotes shown to the resident at once at most.")

    # Messages to people
    smtp_url: str = Field(
        "", description="Mail server, smtp://user@host:587 or smtps://user@host:465; empty sends no e-mail."
    )
    smtp_password: SecretStr | None = Field(None, description="Password at the mail server; sent over TLS only.")
    smtp_from: str = Field("linli@localhost", description="Address that e-mail comes from.")
    smtp_seconds: float = Field(15, description="Longest wait for an answer of the mail server.")
    delivery_attempts_max: int = Field(10, description="Tries to send a message through a channel.")
    delivery_retry_seconds_min: float = Field(5, description="Pause after a first failed try; doubles with each.")
    delivery_retry_seconds_max: float = Field(
        3600, description="Longest pause between two tries; emergencies never wait longer than half a minute."
    )

    # Queue, worker and feed
    queue_shard: str = Field("0", description="Name of the queue this process sends to and takes from.")
    queue_waiting_max: int = Field(5_000, description="Jobs waiting in all before a 429; batch jobs may take half.")
    queue_waiting_per_community_max: int = Field(
        500, description="Jobs of one community waiting before a 429; batch jobs may take half."
    )
    community_weights: dict[str, float] = Field(
        {}, description="Shares of communities in the queue, by id; 1 where none is given."
    )
    lane_service_wait_seconds: float = Field(
        15,
        description="Wait that service jobs are kept to: the later, the more places, three of eight at most.",
    )
    lane_batch_wait_seconds: float = Field(
        60,
        description="Wait that batch jobs are kept to: the later, the more places, two of eight at most.",
    )
    lease_seconds: float = Field(4, description="Time without a sign of life after which a job goes to another worker.")
    job_attempts_max: int = Field(5, description="Failed attempts before a job goes to the dead set.")
    retry_seconds_min: float = Field(0.5, description="Pause after a first failed attempt; doubles with each.")
    retry_seconds_max: float = Field(60, description="Longest pause between two attempts.")
    dead_jobs_max: int = Field(10_000, description="Dead jobs kept for operators; the oldest leave first.")
    worker_slots_max: int = Field(16, description="Jobs one worker process runs at once.")
    worker_metrics_port: int = Field(
        0, description="Port of the worker's own /metrics; 0 opens none. `linli up` finds a free one."
    )
    worker_metrics_host: str = Field("127.0.0.1", description="Address the worker's /metrics listens on.")
    frame_ms_max: float = Field(100, description="Tokens are gathered into one event for at most this long.")
    feed_hours: float = Field(1, description="How long the events of a turn can be replayed.")
    feed_idle_seconds: float = Field(5, description="Quiet time after which a follower is woken to look around.")
    feed_reconnect_seconds: float = Field(10, description="How long a follower waits for Redis to come back.")
    feed_publish_seconds: float = Field(2, description="How long a publisher waits for Redis before it goes on.")
    follower_buffer_events_max: int = Field(256, description="Events held in memory for one follower.")
    follower_stall_seconds: float = Field(30, description="A follower that reads nothing for so long is cut.")
    conversation_stream_seconds: float = Field(
        300, description="How long a stream of a conversation stays open until its client comes back for more."
    )

    # The way out to addresses that people type in (webhooks, channels that ring somebody)
    outgoing_ports: list[int] = Field([80, 443, 8080, 8443], description="Ports that such addresses may name.")
    outgoing_private_hosts: list[str] = Field(
        [],
        description="Names, addresses and networks that may be private or loopback all the same; JSON, "
        '`["hooks.lan", "10.1.0.0/16"]`.',
    )
    outgoing_ca_file: str = Field("", description="PEM of certificate authorities to trust besides the public ones.")
    outgoing_seconds: float = Field(10, description="Longest time for one such request, look-up and answer included.")
    outgoing_connect_seconds: float = Field(3, description="Longest wait for a connection to one address.")
    outgoing_answer_bytes_max: int = Field(65_536, description="Bytes of an answer that are read.")

    # Webhooks
    webhooks_max: int = Field(20, description="Webhooks of one community at most.")
    webhook_attempts_max: int = Field(16, description="Tries of one delivery before it is given up.")
    webhook_retry_seconds_min: float = Field(10, description="Pause after a first failed try; doubles with each.")
    webhook_retry_seconds_max: float = Field(3_600, description="Longest pause between two tries.")
    webhook_slow_seconds: float = Field(
        2, description="A receiver that took longer to answer is left alone for three times as long."
    )
    webhook_failing_hours_max: float = Field(72, description="A webhook that failed for so long is switched off.")
    webhook_old_secret_hours: float = Field(24, description="How long the secret before signs beside a new one.")
    webhook_log_days: int = Field(30, description="Days the log of deliveries is kept.")

    metrics_token: SecretStr | None = Field(
        None,
        description="Bearer token that /metrics asks for; without one only the private network may read it, unproxied.",
    )
    log_json: bool = Field(True, description="Logs as JSON lines; false prints them for people.")
    log_level: str = Field("INFO", description="Lowest level that is logged.")
    telemetry_url: str = Field("", description="OTLP/HTTP endpoint for OpenTelemetry traces; empty sends none.")


@lru_cache(maxsize=1)
def load() -> Settings:
    """The settings of this process, read once."""
    return Settings()
