# Two images: `docker build --target engine -t september-engine .`
#         and `docker build --target orchestrator -t september-orchestrator .`

FROM python:3.12-slim AS build
WORKDIR /src
RUN python -m venv /opt/september
ENV PATH=/opt/september/bin:$PATH
COPY pyproject.toml setup.py ./
# The dependencies alone first: a change of the code leaves this layer as it is.
RUN python -c "import tomllib; d = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print('\n'.join(d['dependencies']))" > requirements.txt && pip install --no-cache-dir -r requirements.txt
COPY README.md* ./
COPY src src
COPY migrations migrations
COPY catalog catalog
RUN [ -f README.md ] || echo September > README.md
RUN pip install --no-cache-dir --no-deps .

FROM build AS build-orchestrator
RUN pip install --no-cache-dir ".[fleet]"

FROM python:3.12-slim AS base
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data september \
 && mkdir /data && chown september:september /data
ENV PATH=/opt/september/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data
USER september
WORKDIR /data
VOLUME /data
EXPOSE 8000

FROM base AS engine
COPY --from=build /opt/september /opt/september
ENV ENGINE_HOST=0.0.0.0 ENGINE_PORT=8000 SQLITE_DB_PATH=/data/brain.sqlite
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["python", "-c", \
 "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["september", "engine"]

FROM base AS orchestrator
COPY --from=build-orchestrator /opt/september /opt/september
ENV ORCH_HOST=0.0.0.0 ORCH_PORT=8000 ORCH_DATA_DIR=/data
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s --retries=3 CMD ["python", "-c", \
 "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
STOPSIGNAL SIGTERM
CMD ["september", "orchestrator"]
