# The ledger for an external PostgreSQL, run by a user without rights.
FROM python:3.11-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /app

# The locked versions first: they change less often than the code.
COPY requirements.lock ./
RUN pip install -r requirements.lock

COPY pyproject.toml README.md ./
COPY migrations ./migrations
COPY ledger ./ledger
COPY replay ./replay
# The demo writes its sample into the data folder.
RUN pip install --no-deps . && useradd --system --uid 10001 ledger && install -d -o ledger /app/.ledger

USER ledger
ENTRYPOINT ["ledger"]
CMD ["--help"]
