"""The contract as files, and its versions: what was published under a version keeps its meaning.

1. What means something else than its version says is not exported, before it has a new version.
2. A new version leaves the files of the earlier ones where they are.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ledger import schemas
from ledger.contract.asyncapi import document
from ledger.contract.headers import header_schemas
from ledger.schemas import VERSIONS, Kind, Name, Schema, current, digest, fact_schema_uri, published, published_versions

ASYNCAPI = "asyncapi"
DOCUMENT = "asyncapi.json"
VERSIONS_FILE = "versions.json"
SOURCE = Path(schemas.__file__).parent / VERSIONS
PROJECT = SOURCE.parent.parent / "pyproject.toml"
# Words of the document, which bind nobody; the version is its own name.
DOCUMENT_WORDS = frozenset({"title", "description", "summary", "examples", "id", "version"})


class ContractRefused(ValueError):
    """The contract is not written so."""


class ContractChanged(ContractRefused):
    """Something means something else than its version says, or has none; what is to be done stands with each."""


class VersionNotDue(ContractRefused):
    """No such name is in the contract, or it means what its version says; a new version is for what changed."""


class SourceMissing(ContractRefused):
    """This program was installed, and versions are given in the project's source tree, from where they are committed."""


def _generated() -> dict[Kind, dict[str, Schema]]:
    return {
        "commands": schemas.command_schemas(),
        "events": schemas.fact_schemas(),
        "headers": header_schemas(),
    }


def _meant() -> dict[tuple[Kind, str], str]:
    """The digest of what every schema means now."""
    return {(kind, of): digest(schema) for kind, by_name in _generated().items() for of, schema in by_name.items()}


def _document_meant() -> dict[tuple[Kind, str], str]:
    """That of the document, which refers to the schemas by their versions; so these come first."""
    return {("documents", ASYNCAPI): digest(_bare(document(0)))}


def _bare(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _bare(value) for key, value in node.items() if key not in DOCUMENT_WORDS}
    return [_bare(each) for each in node] if isinstance(node, list) else node


def _due(meant: Mapping[tuple[Kind, str], str]) -> dict[tuple[Kind, str], int]:
    """Which of these need a version, and which: the first, or another than the last."""
    known = {(kind, of): published_versions().get(kind, {}).get(of, {}) for kind, of in meant}
    return {
        key: len(versions) + 1
        for key, versions in known.items()
        if not versions or versions[str(len(versions))] != meant[key]
    }


def changed() -> list[str]:
    """What is to be done, a sentence each, before the contract can be exported."""
    due = _due(_meant()) or _due(_document_meant())
    return [
        f"{kind}/{of} has no version yet: `ledger contract --bump {of}` gives it the first."
        if version == 1
        else f"{kind}/{of} means something else than its version {version - 1}: undo the change, or "
        f"`ledger contract --bump {of}` makes version {version} and leaves the file of version {version - 1}."
        for (kind, of), version in due.items()
    ]


def files() -> Iterator[tuple[str, bytes]]:
    """Path and content of each file, of the versions of now. Raises ContractChanged."""
    if sentences := changed():
        raise ContractChanged("\n".join(sentences))
    for kind, by_name in _generated().items():
        for of, schema in by_name.items():
            name = current(kind, of)
            yield name.path, _readable(published(name, schema))
    yield DOCUMENT, _readable(document(current("documents", ASYNCAPI).version))
    yield VERSIONS_FILE, _readable(published_versions())


def _readable(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def export(folder: Path) -> list[Path]:
    """Write the contract; what is in the folder of earlier versions stays. Raises ContractChanged, OSError."""
    written = []
    for path, content in files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        written.append(target)
    return written


def bump(names: Collection[str]) -> list[Name]:
    """Give these, where they changed, their next versions, and then the document, if it refers to them.

    Writes into the source tree, from where it is committed. Raises SourceMissing, VersionNotDue, OSError.
    """
    if not PROJECT.exists():
        raise SourceMissing(SourceMissing.__doc__)
    meant = _meant()
    due = {key: version for key, version in _due(meant).items() if key[1] in names}
    undue = sorted({*names} - {of for _, of in due} - {ASYNCAPI})
    if undue:
        raise VersionNotDue(f"{', '.join(undue)}: {VersionNotDue.__doc__}")
    _write(meant, due)
    if not _due(_meant()):
        document_meant = _document_meant()
        document_due = _due(document_meant)
        _write(document_meant, document_due)
        due |= document_due
    if not due:
        raise VersionNotDue(f"{', '.join(names)}: {VersionNotDue.__doc__}")
    return [Name(kind, of, version) for (kind, of), version in due.items()]


def _write(meant: Mapping[tuple[Kind, str], str], due: Mapping[tuple[Kind, str], int]) -> None:
    versions = {kind: {of: {**known} for of, known in by.items()} for kind, by in published_versions().items()}
    for (kind, of), version in due.items():
        versions.setdefault(kind, {}).setdefault(of, {})[str(version)] = meant[kind, of]
    SOURCE.write_bytes(_readable({kind: dict(sorted(by.items())) for kind, by in sorted(versions.items())}))
    published_versions.cache_clear()
    fact_schema_uri.cache_clear()
