"""Fetch Apache Kafka for the tests: `python -m tests.kafka.fetch` has Maven copy the jars of `pom.xml` into `.kafka/jars`.

1. No jar is used whose SHA-256 sum is not in `jars.sha256`; none of those may be missing, and none may be added.
2. The folder is there whole and checked, or not at all: jars are copied aside and renamed.
3. A folder that is right already is left alone, and then neither Maven nor the network is needed.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]
POM = Path(__file__).with_name("pom.xml")
LOCK = Path(__file__).with_name("jars.sha256")
JARS = PROJECT / ".kafka" / "jars"
LEAST_JAVA = 17
MAVEN_WAIT_S = 900
JAVA_WAIT_S = 60
ERROR_TAIL_CHARACTERS = 4_000
LOCK_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9][A-Za-z0-9._+-]*\.jar)")


class FetchRefused(RuntimeError):
    """Apache Kafka for the tests cannot be fetched, or is not what it was when it was locked."""


def java() -> str | None:
    """The path of a Java that runs the broker, or None."""
    found = shutil.which("java")
    if found is None:
        return None
    said = subprocess.run([found, "-version"], check=False, capture_output=True, text=True, timeout=JAVA_WAIT_S)
    version = re.search(r'version "(\d+)', said.stderr)
    return found if version is not None and int(version[1]) >= LEAST_JAVA else None


def locked(lock: Path) -> dict[str, str]:
    """The sum of each jar, by name. Raises FetchRefused."""
    if not lock.exists():
        raise FetchRefused(f"{lock} is missing; write it with `python -m tests.kafka.fetch --renew`")
    sums = {}
    for line in lock.read_text(encoding="utf-8").splitlines():
        matched = LOCK_LINE.fullmatch(line)
        if matched is None:
            raise FetchRefused(f"{lock}: this is no sum and jar: {line}")
        sums[matched[2]] = matched[1]
    return sums


def found(folder: Path) -> dict[str, str]:
    """The sum of each file that is there, by name."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def differences(folder: Path, lock: Path) -> list[str]:
    """What is wrong with the jars, each in a sentence; nothing when they are what was locked. Raises FetchRefused."""
    expected, there = locked(lock), found(folder)
    return [
        *(f"{name} is missing" for name in sorted(expected.keys() - there.keys())),
        *(f"{name} is not locked" for name in sorted(there.keys() - expected.keys())),
        *(
            f"{name} has the SHA-256 sum {there[name]}, and {expected[name]} is locked"
            for name in sorted(expected.keys() & there.keys())
            if there[name] != expected[name]
        ),
    ]


def check(folder: Path, lock: Path) -> None:
    """Raises FetchRefused."""
    wrong = differences(folder, lock)
    if wrong:
        raise FetchRefused(f"these jars are not those of {lock}:\n" + "\n".join(wrong))


def copy_jars(folder: Path) -> None:
    """Have Maven copy them, each checked against the checksum that its repository gives. Raises FetchRefused."""
    maven = shutil.which("mvn")
    if maven is None:
        raise FetchRefused("mvn is missing; install Maven (on Debian: apt-get install maven)")
    if java() is None:
        raise FetchRefused(f"Java {LEAST_JAVA} or newer is missing (on Debian: apt-get install default-jre-headless)")
    # -B asks nobody, -C fails where a checksum does not fit, and only errors are said.
    command = [
        maven,
        "-B",
        "-C",
        "-q",
        "-Dstyle.color=never",
        "-f",
        str(POM),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
    ]
    done = subprocess.run(
        [*command, "-DincludeScope=runtime"], check=False, capture_output=True, text=True, timeout=MAVEN_WAIT_S
    )
    if done.returncode != 0:
        raise FetchRefused(f"mvn failed:\n{(done.stdout + done.stderr)[-ERROR_TAIL_CHARACTERS:]}")


def renew(folder: Path, lock: Path) -> None:
    """Write the sums of these jars as those that are expected from now on."""
    lock.write_text("".join(f"{digest}  {name}\n" for name, digest in found(folder).items()), encoding="utf-8")


def fetch(*, renews: bool) -> str:
    """Make the folder right; what was done, in a sentence. Raises FetchRefused."""
    if not renews and JARS.exists() and not differences(JARS, LOCK):
        return f"{JARS} is there and as it was locked."
    aside = JARS.with_name("jars.new")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    copy_jars(aside)
    if renews:
        renew(aside, LOCK)
    check(aside, LOCK)
    if JARS.exists():
        shutil.rmtree(JARS)
    aside.rename(JARS)
    return f"{JARS} holds {len(found(JARS))} jars, all as they were locked."


def main() -> None:
    """Exit code 1 and a sentence where it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kafka.fetch", description="Fetch Apache Kafka for the tests."
    )
    parser.add_argument("--renew", action="store_true", help="write the SHA-256 sums of what was fetched as the lock")
    try:
        said = fetch(renews=parser.parse_args().renew)
    except FetchRefused as refused:
        sys.exit(str(refused))
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
