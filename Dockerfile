# syntax=docker/dockerfile:1

# The ledger's programs, for a PostgreSQL and a Kafka of yours, run by a user without rights on a root that nobody writes to.
FROM python:3.11.14-slim-bookworm AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv /opt/ledger

COPY requirements.lock pyproject.toml README.md ./
COPY migrations ./migrations
COPY ledger ./ledger
COPY replay ./replay
# What the program needs, in the locked versions and as wheels alone; not what only its tests need.
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ledger/bin/pip install --only-binary :all: --constraint requirements.lock "setuptools>=77" wheel \
    && /opt/ledger/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/ledger/bin/pip install --only-binary :all: --constraint requirements.lock /wheels/*.whl \
    && /opt/ledger/bin/pip uninstall --yes setuptools wheel \
    && /opt/ledger/bin/python -m compileall -q /opt/ledger


FROM python:3.11.14-slim-bookworm

ENV PATH=/opt/ledger/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LEDGER_DATA_FOLDER=/var/lib/ledger
# A new volume takes the folders' owner over.
RUN useradd --system --uid 10001 --user-group --home-dir /var/lib/ledger --shell /usr/sbin/nologin ledger \
    && install --directory --owner=ledger --group=ledger --mode=0700 /var/lib/ledger \
    && install --directory --owner=ledger --group=ledger --mode=0755 /var/lib/checkpoints
COPY --from=build /opt/ledger /opt/ledger

WORKDIR /var/lib/ledger
USER 10001:10001
ENTRYPOINT ["ledger"]
CMD ["--help"]
