"""Nothing is lost, doubled or reordered whatever is killed; `make chaos` does the same for longer."""

import os
import subprocess
import sys

from tests.brokers import choose

# LEDGER_ variables are settings, so the seed has another name.
SEED = os.environ.get("CHAOS_SEED", "1")
PATIENCE_S = 600
BEFALL_ALL = ("consumer killed", "database killed", "intake frozen", "intake killed", "outlet frozen", "outlet killed")


def test_whatever_is_killed_every_command_is_recorded_once_and_every_fact_published_in_order() -> None:
    """As a program of its own: the client leaves it to the garbage collector to close what did not connect."""
    asked = ["--commands", "4000", "--seed", SEED, "--lasts", "22"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.kafka.chaos", *asked],
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, f"{ran.stdout}{ran.stderr[-20_000:]}"
    befell = ("broker killed", *BEFALL_ALL) if choose() == "apache" else BEFALL_ALL
    missing = [what for what in befell if what not in ran.stdout]
    assert not missing, f"{ran.stdout}{ran.stderr[-20_000:]}"
