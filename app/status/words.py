"""The words of `linli status` in both languages."""

import os

WORDS: dict[str, tuple[str, str]] = {
    "full": ("full answers", "完整回答"),
    "degraded": ("degraded: quotes only", "降级：仅引文"),
    "down": ("down", "不可用"),
    "well": ("All is well.", "一切正常。"),
    "wrong": ("What is wrong, and what to do", "异常与处理办法"),
    "unknown": ("not known", "未知"),
    "unknown_queue": ("not known while Redis is down", "Redis 不可用，无法得知"),
    "database": ("Postgres", "Postgres"),
    "redis": ("Redis", "Redis"),
    "ok": ("ok", "正常"),
    "down_part": ("down", "无响应"),
    "queue": ("Queue", "队列"),
    "lane": ("lane", "通道"),
    "interactive": ("residents", "居民提问"),
    "service": ("service desk", "服务台"),
    "batch": ("documents", "文档"),
    "ready": ("waiting", "等待"),
    "oldest": ("oldest wait", "最久等待"),
    "expected": ("last in line waits", "队尾预计"),
    "running": ("running", "运行中"),
    "delayed": ("to be tried again", "待重试"),
    "parked": ("behind their conversation", "同会话排队"),
    "dead": ("dead", "已失败"),
    "documents": ("documents not searchable yet", "未入库文档"),
    "communities": ("Communities that wait most", "等待最多的小区"),
    "community": ("community", "小区"),
    "share": ("share", "占比"),
    "engines": ("Engine", "模型引擎"),
    "engine": ("engine", "引擎"),
    "state": ("state", "状态"),
    "in_flight": ("ours / free", "占用/空闲"),
    "load": ("runs / waits", "运行/排队"),
    "not_wanted": ("none is wanted (LINLI_ENGINE_MODE=off)", "未启用（LINLI_ENGINE_MODE=off）"),
    "not_seen": ("no worker tells of one", "没有 worker 报告"),
    "state_off": ("off", "离线"),
    "state_warming": ("loading", "加载中"),
    "state_ready": ("ready", "就绪"),
    "state_failing": ("failing", "故障"),
    "tokens": ("tokens/s", "词元/秒"),
    "first_token": ("first token p50/p95", "首字 p50/p95"),
    "cache": ("prefix-cache hits", "前缀缓存命中"),
    "answers": ("answers/min", "回答/分"),
    "refused": ("refused/min", "拒绝/分"),
    "followers": ("followers", "收看"),
    "processes": ("Processes", "进程"),
    "nobody": ("none gives a sign of life", "没有存活的进程"),
    "process": ("process", "进程"),
    "up": ("up", "运行"),
    "jobs": ("jobs", "任务"),
    "database_pool": ("db pool", "库连接"),
    "redis_pool": ("redis pool", "缓存连接"),
    "lag": ("lag", "延迟"),
    "version": ("version", "版本"),
    "do": ("do", "处理"),
    "none_dead": ("No job is dead.", "没有失败的任务。"),
    "reason": ("reason", "原因"),
    "age": ("died", "失败于"),
    "attempts": ("tries", "次数"),
    "job": ("job", "任务"),
    "ago": ("ago", "前"),
}


class Words:
    """The words of one language: `words("queue")`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = 1 if language == "zh" else 0

    def __call__(self, name: str) -> str:
        return WORDS[name][self._place]


def language_of_terminal() -> str:
    """zh where the terminal's locale is Chinese, else en."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if locale.lower().startswith("zh") else "en"
