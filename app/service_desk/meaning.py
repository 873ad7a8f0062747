"""The meaning of a report as a vector, for comparing it with others. Never a reason to fail: without it words count."""

import asyncio

import numpy as np
import structlog

from app.knowledge import centres
from app.knowledge.ingest import embedder_key
from app.knowledge.language import language_of
from app.runtime import Runtime
from app.service_desk.likeness import Vector
from models.openai_embedder import EmbedderFailed

log = structlog.get_logger(__name__)

TEXT_CHARS_MAX = 500
"""What a report is about stands at its beginning."""


async def vector_of(runtime: Runtime, text: str) -> Vector | None:
    """The text's centred unit vector; None when the embedder is down or slow. No SQL session may be open meanwhile."""
    try:
        async with asyncio.timeout(runtime.settings.match_embedding_seconds):
            known = await centres.generic_centres(runtime.embedder)
            vector = (await runtime.embedder.embed_queries([text[:TEXT_CHARS_MAX]]))[0]
    except (EmbedderFailed, OSError, TimeoutError) as error:
        log.warning("report_not_embedded", error=repr(error))
        return None
    # The embedder places texts by language first; without that part their meaning is left.
    meaning = vector - known.questions[language_of(text)]
    return np.asarray(meaning / max(float(np.linalg.norm(meaning)), 1e-6), dtype=np.float32)


def name_of(runtime: Runtime) -> str:
    """Vectors of two embedders are never compared."""
    return embedder_key(runtime.embedder)
