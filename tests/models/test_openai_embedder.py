"""Any `/v1/embeddings` server, here a real one on loopback that answers from a script."""

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from models.openai_embedder import EmbedderFailed, OpenAiEmbedder


@pytest.fixture
def server():
    asked: list[tuple[str | None, dict[str, Any]]] = []
    failures: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers.get("Authorization"), body))
            if failures:
                self.send_response(failures.pop())
                self.end_headers()
                return
            rows = [{"index": n, "embedding": [3.0, 4.0, len(text)]} for n, text in enumerate(body["input"])]
            answer = json.dumps({"data": rows[::-1]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1", asked, failures
    running.shutdown()
    running.server_close()


def opened(url, **changes):
    given: dict[str, Any] = {"model": "bge-m3", "width": 0, "api_key": "key", "timeout_seconds": 5, "texts_per_call": 2}
    return OpenAiEmbedder(url, **(given | {"query_prefix": "q: ", "passage_prefix": ""} | changes))


async def test_width_is_read_at_the_start_and_texts_go_in_batches_with_prefixes(server):
    url, asked, _ = server
    embedder = await asyncio.to_thread(opened, url)
    vectors = await embedder.embed_queries(["a", "bb", "ccc"])
    await embedder.close()
    assert (embedder.width, vectors.shape) == (3, (3, 3))
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert vectors[0][2] < vectors[1][2] < vectors[2][2], "in the order asked, whatever order came back"
    assert [body["input"] for _, body in asked[1:]] == [["q: a", "q: bb"], ["q: ccc"]]
    assert {key for key, _ in asked} == {"Bearer key"}


async def test_a_passing_failure_is_tried_again_and_a_refusal_is_not(server):
    url, asked, failures = server
    embedder = opened(url, width=3)
    failures.append(503)
    assert (await embedder.embed_passages(["a"])).shape == (1, 3)
    failures.append(401)
    with pytest.raises(EmbedderFailed, match="401"):
        await embedder.embed_passages(["a"])
    assert len(asked) == 3
    await embedder.close()


async def test_another_width_than_recorded_is_refused(server):
    embedder = opened(server[0], width=384)
    with pytest.raises(EmbedderFailed, match="wanted"):
        await embedder.embed_passages(["a"])
    await embedder.close()
