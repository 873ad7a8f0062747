# One image for `linli web`, `linli worker`, `linli migrate`. Postgres, Redis and vLLM are other containers.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 LINLI_DATA_DIR=/data LINLI_WEB_HOST=0.0.0.0 OPENBLAS_NUM_THREADS=1
WORKDIR /linli

COPY app/requirements.txt app/requirements.txt
RUN pip install --require-hashes -r app/requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY models models
COPY migrations migrations
RUN pip install --no-deps --no-build-isolation -e . \
    && useradd --system --uid 10001 --home-dir /data linli && mkdir /data && chown linli /data

USER linli
VOLUME /data
EXPOSE 8080
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=3)"]
CMD ["linli", "web"]
