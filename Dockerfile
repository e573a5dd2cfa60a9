# Two images: `docker build --target engine -t september-engine .`
#         and `docker build --target orchestrator -t september-orchestrator .`
# BASE is any image with Python 3.11 or newer and its venv module. A proxy that signs HTTPS anew
# needs its authorities as ca.crt beside this file; they are used to build and left behind.

ARG BASE=python:3.12-slim

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml setup.py ca.crt* ./
RUN python3 -m venv /opt/uv && python3 -m venv --without-pip /opt/september \
 && if [ -f ca.crt ]; then export PIP_CERT=/src/ca.crt; fi && /opt/uv/bin/pip install -q uv
ENV PATH=/opt/september/bin:/opt/uv/bin:$PATH VIRTUAL_ENV=/opt/september \
    UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
# The dependencies alone first: a change of the code leaves this layer as it is.
RUN if [ -f ca.crt ]; then export SSL_CERT_FILE=/src/ca.crt; fi && uv pip install -r pyproject.toml \
 && find /opt/september -type d -name tests -prune -exec rm -r {} +
COPY README.md ./
COPY src src
COPY migrations migrations
COPY catalog catalog
RUN if [ -f ca.crt ]; then export SSL_CERT_FILE=/src/ca.crt; fi && uv pip install --no-deps .

FROM ${BASE} AS engine
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /data september \
 && mkdir /data && chown september:september /data
ENV PATH=/opt/september/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/data
USER september
WORKDIR /data
VOLUME /data
EXPOSE 8000
COPY --from=build /opt/september /opt/september
ENV ENGINE_HOST=0.0.0.0 ENGINE_PORT=8000 SQLITE_DB_PATH=/data/brain.sqlite
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-ISc", \
 "import socket, sys; s = socket.create_connection(('127.0.0.1', 8000), 4); \
  s.sendall(b'GET /health HTTP/1.0\\r\\n\\r\\n'); sys.exit(b' 200 ' not in s.recv(64))"]
STOPSIGNAL SIGTERM
CMD ["september", "engine"]

# Only what an orchestrator has and an Engine has not.
FROM build AS build-orchestrator
RUN touch /tmp/before && if [ -f ca.crt ]; then export SSL_CERT_FILE=/src/ca.crt; fi \
 && uv pip install -r pyproject.toml --extra fleet && mkdir /opt/more \
 && find /opt/september -cnewer /tmp/before ! -type d -print0 \
  | tar -c --null -T - | tar -x -C /opt/more

FROM engine AS orchestrator
COPY --from=build-orchestrator /opt/more /
ENV ORCH_HOST=0.0.0.0 ORCH_PORT=8000 ORCH_DATA_DIR=/data
CMD ["september", "orchestrator"]
