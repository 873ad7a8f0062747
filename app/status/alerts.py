"""What can be wrong with the house, why it matters and what to do: one table for `linli status` and for Prometheus.

`monitoring/alerts.yaml` is written from it: `python -m tests.tidy.alert_rules`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from app.queue import Lane
from app.status.house import House, quantile
from models.engine import State

WAIT_SECONDS_MAX = 30
QUEUE_SHARE_MAX = 0.8
CROWD_SHARE_MAX = 0.8
BATCH_WAIT_SECONDS_MAX = 1_800
FIRST_TOKEN_SECONDS_MAX = 10
FAILED_SHARE_MAX = 0.1
FALLBACK_SHARE_MAX = 0.3
LAG_SECONDS_MAX = 0.5
CACHE_SHARE_MIN = 0.2
CACHE_PROMPT_TOKENS_MIN = 20_000
"""Fewer prompt tokens a minute say nothing about the cache."""


class Severity(StrEnum):
    """PAGE: residents notice now. TICKET: look at it today. INFO: good to know."""

    PAGE = "page"
    TICKET = "ticket"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Text:
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Alert:
    """`expr` asks Prometheus and `found` the house the same: what is the case, shortly, or None when all is well."""

    name: str
    severity: Severity
    minutes: int
    expr: str
    found: Callable[[House], str | None]
    summary: Text
    description: Text
    action: Text


def _down(part: str) -> Callable[[House], str | None]:
    return lambda house: None if house.parts[part] == "ok" else house.parts[part]


def _over(value: float | None, limit: float, unit: str = "s") -> str | None:
    return f"{value:.1f} {unit} > {limit:g} {unit}" if value is not None and value > limit else None


def _missing(role: str) -> Callable[[House], str | None]:
    # Without Redis nobody can give a sign of life.
    return lambda house: None if house.parts["redis"] != "ok" or house.of_role(role) else "0"


def _engine_down(house: House) -> str | None:
    if not house.engine_wanted or house.engine_ready or (house.processes and not house.of_role("worker")):
        return None
    return "; ".join(f"{engine.name} {engine.state} {engine.detail}".strip() for engine in house.engines) or "-"


def _engine_partly_down(house: House) -> str | None:
    away = [engine.name for engine in house.engines if engine.state is not State.READY]
    return ", ".join(away) if house.engine_wanted and house.engine_ready and away else None


def _queue_filling(house: House) -> str | None:
    limit = house.settings.queue_waiting_max
    waiting = house.stats.waiting if house.stats else 0
    return f"{waiting} / {limit}" if waiting > QUEUE_SHARE_MAX * limit else None


def _crowd(house: House) -> str | None:
    limit = house.settings.queue_waiting_per_community_max
    found = [
        f"{c.name or c.community_id}: {c.waiting} / {limit}"
        for c in house.crowds
        if c.waiting > CROWD_SHARE_MAX * limit
    ]
    return ", ".join(found) or None


def _share(part: str, *whole: str, limit: float, at_least: int = 3) -> Callable[[House], str | None]:
    """Told when the share of `part` in `whole` (itself among it) is over the limit; a few tell nothing."""

    def found(house: House) -> str | None:
        some, all_ = house.lately(part), sum(house.lately(name) for name in whole)
        return f"{some:.0f} / {all_:.0f}" if some >= at_least and some > limit * all_ else None

    return found


def _lately(name: str) -> Callable[[House], str | None]:
    return lambda house: f"{house.lately(name):.0f} / min" if house.lately(name) else None


def _pool(name: str) -> Callable[[House], str | None]:
    def found(house: House) -> str | None:
        pools = {p.id: p.database if name == "database" else p.redis for p in house.processes}
        full = [
            f"{key} {pool.in_use}/{pool.size}" for key, pool in pools.items() if pool.size and pool.in_use >= pool.size
        ]
        return ", ".join(full) or None

    return found


def _cold_cache(house: House) -> str | None:
    share = house.cache_hit_share
    busy = house.lately("prompt_tokens") > CACHE_PROMPT_TOKENS_MIN
    return f"{share:.0%} < {CACHE_SHARE_MIN:.0%}" if share is not None and busy and share < CACHE_SHARE_MIN else None


def _versions(house: House) -> str | None:
    versions = sorted({found.version for found in house.processes})
    return ", ".join(versions) if len(versions) > 1 else None


def _no_answers(house: House) -> str | None:
    failed = house.lately("turns_failed")
    return f"{failed:.0f} / min" if failed else None


ALERTS: tuple[Alert, ...] = (
    Alert(
        "LinliDatabaseDown", Severity.PAGE, 1, 'max(linli_part_up{part="database"}) == 0', _down("database"),
        Text("Postgres does not answer", "Postgres 无响应"),
        Text("No question can be asked and none answered; what was accepted is safe.", "无法提问和回答；已接收的问题不会丢失。"),
        Text(
            "Start Postgres (`linli up` does it by itself: var/logs/postgres.log), look for a full disk and too many connections.",
            "启动 Postgres（`linli up` 会自动重启，日志 var/logs/postgres.log），检查磁盘是否已满、连接数是否过多。",
        ),
    ),
    Alert(
        "LinliRedisDown", Severity.PAGE, 1, 'max(linli_part_up{part="redis"}) == 0', _down("redis"),
        Text("Redis does not answer", "Redis 无响应"),
        Text("Questions are kept as rows and wait; nothing streams.", "问题已存入数据库等待处理；暂无实时回答。"),
        Text(
            "Start Valkey or Redis again (var/logs/valkey.log). Its data may be lost: the workers send again what waits within seconds.",
            "重新启动 Valkey 或 Redis（日志 var/logs/valkey.log）。其数据可以丢失：几秒内 worker 会重新发送等待的任务。",
        ),
    ),
    Alert(
        "LinliNoWorker", Severity.PAGE, 1, 'max(linli_processes{role="worker"}) == 0', _missing("worker"),
        Text("No worker lives", "没有运行中的 worker"),
        Text("Questions are accepted and wait; nobody answers them.", "问题会被接收并等待，但没有进程处理。"),
        Text("Start `linli worker`; var/logs/worker.log says why the last one ended.", "启动 `linli worker`；退出原因见 var/logs/worker.log。"),
    ),
    Alert(
        "LinliNoWeb", Severity.PAGE, 1, 'max(linli_processes{role="web"}) == 0', _missing("web"),
        Text("No web process lives", "没有运行中的 web 进程"),
        Text("Residents cannot reach Linli.", "居民无法访问邻里。"),
        Text("Start `linli web`; var/logs/web.log says why the last one ended.", "启动 `linli web`；退出原因见 var/logs/web.log。"),
    ),
    Alert(
        "LinliEngineDown", Severity.PAGE, 5, "max(linli_engine_ready) == 0", _engine_down,
        Text("No engine answers", "没有可用的模型引擎"),
        Text("Answers are the quoted passages until one is back.", "恢复之前，回答仅为引用的原文。"),
        Text(
            "Look at the engine's own log and the GPU's memory, then restart vLLM; while it loads, wait. Linli returns to full answers by itself.",
            "查看引擎日志和显存，然后重启 vLLM；若正在加载请等待。邻里会自动恢复完整回答。",
        ),
    ),
    Alert(
        "LinliEnginePartlyDown", Severity.TICKET, 5, "min(linli_engine_ready) == 0 and max(linli_engine_ready) == 1",
        _engine_partly_down,
        Text("An engine of several is away", "多个引擎中有一个不可用"),
        Text("The others carry its load; answers may be slower.", "其余引擎分担负载，回答可能变慢。"),
        Text("Restart that engine, or take its address out of LINLI_ENGINE_URL.", "重启该引擎，或从 LINLI_ENGINE_URL 中移除其地址。"),
    ),
    Alert(
        "LinliResidentsWait", Severity.PAGE, 2,
        f'max(linli_queue_oldest_wait_seconds{{lane="interactive"}}) > {WAIT_SECONDS_MAX}',
        lambda house: _over(house.waits_seconds(Lane.INTERACTIVE), WAIT_SECONDS_MAX),
        Text("Residents wait too long", "居民等待过久"),
        Text("The oldest question waits longer than it should.", "最早的问题等待时间过长。"),
        Text(
            "More comes than is done: raise LINLI_ENGINE_SLOTS_MAX and LINLI_WORKER_SLOTS_MAX if the engine has room, add an engine or a worker if not; "
            "`linli status` names the community that asks most.",
            "请求多于处理能力：引擎有余量时调高 LINLI_ENGINE_SLOTS_MAX 和 LINLI_WORKER_SLOTS_MAX，否则增加引擎或 worker；"
            "`linli status` 会显示请求最多的小区。",
        ),
    ),
    Alert(
        "LinliQueueFilling", Severity.PAGE, 1,
        f'max(linli_queue_jobs{{state="waiting"}}) > {QUEUE_SHARE_MAX:g} * max(linli_queue_waiting_max)', _queue_filling,
        Text("The queue is nearly full", "队列即将满载"),
        Text("Beyond its limit new questions are refused with 429 and told when to come back.", "超过上限后新问题会收到 429 并提示稍后再试。"),
        Text(
            "Add workers and engines; raise LINLI_QUEUE_WAITING_MAX only if people would rather wait longer.",
            "增加 worker 和引擎；仅当居民愿意等更久时才调高 LINLI_QUEUE_WAITING_MAX。",
        ),
    ),
    Alert(
        "LinliQueueRefuses", Severity.PAGE, 1, 'sum(rate(linli_problems_total{code="queue_full"}[5m])) > 0',
        _lately("queue_full"),
        Text("Questions are refused", "有问题被拒绝"),
        Text("A community or the whole house is at its limit of waiting jobs.", "某个小区或整个系统的等待任务已达上限。"),
        Text(
            "See in `linli status` whether one community floods (its limit protects the others, talk to it) or all do (add workers and engines).",
            "在 `linli status` 查看是单个小区过载（上限在保护其他小区，请与其沟通）还是整体过载（增加 worker 和引擎）。",
        ),
    ),
    Alert(
        "LinliCommunityFloods", Severity.TICKET, 5,
        f"max(linli_queue_community_waiting_jobs) > {CROWD_SHARE_MAX:g} * max(linli_queue_community_waiting_max)", _crowd,
        Text("One community floods the queue", "有小区占满队列"),
        Text("Others still get their fair share; its own residents wait long.", "其他小区仍公平获得服务；该小区居民等待较久。"),
        Text(
            "Look for a script with that community's API key and revoke it; LINLI_COMMUNITY_WEIGHTS gives a large community more.",
            "检查是否有脚本使用该小区的 API 密钥并吊销；大型小区可用 LINLI_COMMUNITY_WEIGHTS 提高份额。",
        ),
    ),
    Alert(
        "LinliDeadJobs", Severity.TICKET, 1, 'max(linli_queue_jobs{state="dead"}) > 0',
        lambda house: f"{house.stats.dead}" if house.stats and house.stats.dead else None,
        Text("Jobs have failed for good", "有任务彻底失败"),
        Text("They failed at every attempt and will not run again by themselves.", "多次尝试均失败，不会自动重试。"),
        Text(
            "Read the reasons with `linli dead list`, mend the cause, then `linli dead replay --all`.",
            "用 `linli dead list` 查看原因，修复后执行 `linli dead replay --all`。",
        ),
    ),
    Alert(
        "LinliJobsFail", Severity.TICKET, 5,
        'sum(rate(linli_jobs_total{outcome="failed"}[5m])) > '
        f'{FAILED_SHARE_MAX:g} * sum(rate(linli_jobs_total{{outcome=~"done|failed"}}[5m]))',
        _share("jobs_failed", "jobs_failed", "jobs_done", limit=FAILED_SHARE_MAX),
        Text("Many jobs fail", "大量任务失败"),
        Text("They are tried again, later each time, and die after LINLI_JOB_ATTEMPTS_MAX.", "任务会延迟重试，超过 LINLI_JOB_ATTEMPTS_MAX 次后停止。"),
        Text("Search var/logs/worker.log for job_failed: its row_id and traceback tell the cause.", "在 var/logs/worker.log 搜索 job_failed，查看 row_id 和错误堆栈。"),
    ),
    Alert(
        "LinliTurnsFail", Severity.PAGE, 2, 'sum(rate(linli_turns_total{status="failed"}[5m])) > 0', _lately("turns_failed"),
        Text("Questions end without an answer", "有问题未能得到回答"),
        Text("The resident was told that it failed and may ask again.", "居民已收到失败提示，可以重新提问。"),
        Text("Search var/logs/worker.log for turn_failed and turn_given_up; the error stands beside it.", "在 var/logs/worker.log 搜索 turn_failed 和 turn_given_up 查看原因。"),
    ),
    Alert(
        "LinliFirstTokenSlow", Severity.TICKET, 5,
        f"histogram_quantile(0.95, sum by (le) (rate(linli_engine_first_token_seconds_bucket[5m]))) > {FIRST_TOKEN_SECONDS_MAX}",
        lambda house: _over(quantile(house.first_token_seconds, 0.95), FIRST_TOKEN_SECONDS_MAX),
        Text("The engine's first token comes late", "模型首字延迟过高"),
        Text("Quotes are on the screen at once; the words after them take long.", "引文会立即显示，但后续文字生成较慢。"),
        Text(
            "The engine has too much at once or prompts are long: lower LINLI_ENGINE_SLOTS_MAX, look at prefix-cache hits, add an engine.",
            "引擎并发过高或提示词过长：调低 LINLI_ENGINE_SLOTS_MAX，检查前缀缓存命中率，或增加引擎。",
        ),
    ),
    Alert(
        "LinliAnswersFallBack", Severity.TICKET, 5,
        'sum(rate(linli_answer_fallbacks_total{reason=~"engine_.*"}[5m])) > '
        f'{FALLBACK_SHARE_MAX:g} * sum(rate(linli_turns_total{{status="answered"}}[5m])) and on() max(linli_engine_ready) >= 0',
        lambda house: _share("engine_fallbacks", "turns_answered", limit=FALLBACK_SHARE_MAX)(house) if house.engine_wanted else None,
        Text("Many answers are quotes only", "大量回答仅为引文"),
        Text("The engine could not be asked or failed while it answered.", "引擎不可用或回答过程中失败。"),
        Text("See the engine's state and detail in `linli status`, its log, and engine_failed in var/logs/worker.log.", "在 `linli status` 查看引擎状态，并检查引擎日志和 worker.log 中的 engine_failed。"),
    ),
    Alert(
        "LinliPrefixCacheCold", Severity.INFO, 30,
        f'sum(rate(linli_engine_tokens_total{{kind="cached"}}[30m])) < {CACHE_SHARE_MIN:g} * sum(rate(linli_engine_tokens_total{{kind="prompt"}}[30m]))'
        f' and sum(rate(linli_engine_tokens_total{{kind="prompt"}}[30m])) * 60 > {CACHE_PROMPT_TOKENS_MIN}',
        _cold_cache,
        Text("The prefix cache seldom hits", "前缀缓存命中率低"),
        Text("The engine reads the same instructions again and again.", "引擎在重复处理相同的提示词。"),
        Text(
            "Give the engine more KV memory; with several engines see that a conversation stays on one; check --enable-prompt-tokens-details, else hits are not told.",
            "为引擎分配更多 KV 显存；多引擎时确保会话固定；检查是否启用 --enable-prompt-tokens-details，否则命中不会上报。",
        ),
    ),
    Alert(
        "LinliDocumentsWait", Severity.TICKET, 10,
        f'max(linli_queue_oldest_wait_seconds{{lane="batch"}}) > {BATCH_WAIT_SECONDS_MAX}',
        lambda house: _over(house.waits_seconds(Lane.BATCH), BATCH_WAIT_SECONDS_MAX),
        Text("Documents wait to be embedded", "文档等待向量化"),
        Text("What was uploaded is not found yet.", "已上传的文档暂时无法被检索。"),
        Text("Add a worker, or set LINLI_EMBEDDER_URL to a server with a GPU.", "增加 worker，或将 LINLI_EMBEDDER_URL 指向带 GPU 的服务。"),
    ),
    Alert(
        "LinliDatabasePoolFull", Severity.TICKET, 2,
        'max by (instance) (linli_pool_in_use{pool="database"} / linli_pool_size{pool="database"}) >= 1 '
        'and on(instance) max by (instance) (linli_pool_waiting{pool="database"}) > 0',
        _pool("database"),
        Text("A process has no free database connection", "数据库连接池已满"),
        Text("Requests wait for a connection, and fail after LINLI_DATABASE_STATEMENT_SECONDS.", "请求在等待连接，超时后失败。"),
        Text(
            "Raise LINLI_DATABASE_POOL_CONNECTIONS (times the processes below Postgres's max_connections), or look for slow statements.",
            "调高 LINLI_DATABASE_POOL_CONNECTIONS（乘以进程数需小于 max_connections），或排查慢查询。",
        ),
    ),
    Alert(
        "LinliRedisPoolFull", Severity.TICKET, 2, 'max by (instance) (linli_pool_in_use{pool="redis"} / linli_pool_size{pool="redis"}) >= 1',
        _pool("redis"),
        Text("A process has no free Redis connection", "Redis 连接池已满"),
        Text("Its requests wait for one, and fail after 5 s.", "请求在等待连接，5 秒后失败。"),
        Text("Raise LINLI_REDIS_POOL_CONNECTIONS or start one more web process.", "调高 LINLI_REDIS_POOL_CONNECTIONS 或增加一个 web 进程。"),
    ),
    Alert(
        "LinliLoopLags", Severity.TICKET, 5,
        f"histogram_quantile(0.99, sum by (le, instance) (rate(linli_loop_lag_seconds_bucket[5m]))) > {LAG_SECONDS_MAX:g}",
        lambda house: ", ".join(f"{p.id} {p.loop_lag_seconds:.1f} s" for p in house.processes if p.loop_lag_seconds > LAG_SECONDS_MAX) or None,
        Text("A process answers its timers late", "进程事件循环延迟"),
        Text("Everything it serves stutters.", "该进程的所有服务都会卡顿。"),
        Text("The machine or the process has too much to do: start one more web or worker process, or give it cores.", "机器或进程负载过高：增加 web 或 worker 进程，或分配更多 CPU。"),
    ),
    Alert(
        "LinliServerErrors", Severity.PAGE, 2,
        'sum(rate(linli_problems_total{status=~"500|503"}[5m])) > 0.01 * sum(rate(linli_http_requests_total[5m]))',
        _share("errors", "requests", limit=0.01),
        Text("Requests fail on our side", "服务端错误"),
        Text("More than one in a hundred got a 500 or 503.", "超过百分之一的请求返回 500 或 503。"),
        Text(
            "Search var/logs/web.log for request_failed (a fault: its traceback) and store_unavailable (QueuePool in it: too many at once, start one more web process).",
            "在 var/logs/web.log 搜索 request_failed（程序错误，见堆栈）和 store_unavailable（含 QueuePool 表示并发过高，请增加 web 进程）。",
        ),
    ),
    Alert(
        "LinliFollowersCut", Severity.INFO, 10, "sum(rate(linli_feed_followers_cut_total[10m])) * 60 > 1",
        lambda house: _lately("followers_cut")(house) if house.lately("followers_cut") > 1 else None,
        Text("Readers are cut for reading nothing", "有客户端因停止读取被断开"),
        Text("Their connections are stuck; they lose nothing when they come back.", "其连接已停滞；重连后不会丢失内容。"),
        Text("Turn off response buffering in the proxy for text/event-stream; else it is bad networks, and nothing need be done.", "在反向代理中关闭 text/event-stream 缓冲；否则属于网络问题，无需处理。"),
    ),
    Alert(
        "LinliWebhooksGivenUp", Severity.TICKET, 1,
        'sum(rate(linli_webhook_deliveries_total{outcome="given_up"}[10m])) > 0', _lately("webhooks_given_up"),
        Text("Deliveries to webhooks are given up", "有 Webhook 推送最终失败"),
        Text("A receiver of somebody's could not be reached for long; it misses what happened.", "某个接收方长时间无法送达，遗漏了部分事件。"),
        Text(
            "Search var/logs/worker.log for webhook_failed and webhook_switched_off: the error stands beside the webhook_id. Once the receiver works, "
            "the community's manager enables the webhook and replays its deliveries with status given_up.",
            "在 var/logs/worker.log 搜索 webhook_failed 和 webhook_switched_off 查看 webhook_id 和错误。接收方恢复后，由小区管理员启用 Webhook 并重放 given_up 的推送。",
        ),
    ),
    Alert(
        "LinliVersionsMixed", Severity.INFO, 15, "max(linli_versions) > 1", _versions,
        Text("Two versions run side by side", "同时运行多个版本"),
        Text("Fine during an update, not for long.", "升级期间正常，但不宜持续。"),
        Text("Restart the processes of the older version (`linli status` shows it for each).", "重启旧版本进程（`linli status` 显示各进程版本）。"),
    ),
)  # fmt: skip


def wrong(house: House) -> list[tuple[Alert, str]]:
    """What is wrong now, worst first, with what was seen."""
    found = [(alert, detail) for alert in ALERTS if (detail := alert.found(house)) is not None]
    return sorted(found, key=lambda pair: list(Severity).index(pair[0].severity))
