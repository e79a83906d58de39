"""A client of a broker that does not answer leaves nothing behind, however often it is tried."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
#: In a process of its own: a test's log keeps every error, and with it the sockets that failed.
SCRIPT = """
import gc, sys, threading, kafka, psutil
from kafka.errors import KafkaError
from labkit.runtime.messaging import kafka_clients

kafka_clients._BOOTSTRAP_MS = 200
kind = getattr(kafka, sys.argv[1])

def tried(times):
    for _ in range(times):
        try:
            kafka_clients.make_client(kind, bootstrap_servers="127.0.0.1:1")
        except KafkaError:
            pass
    gc.collect()
    return threading.active_count(), psutil.Process().num_fds()

before, after = tried(1), tried(5)
sys.exit(f"{before} became {after}" if after > before else 0)
"""


@pytest.mark.parametrize("kind", ["KafkaConsumer", "KafkaProducer", "KafkaAdminClient"])
def test_what_cannot_be_made_leaves_nothing(kind: str) -> None:
    """No thread and no descriptor more after five tries than after the first."""
    tried = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert tried.returncode == 0, tried.stderr
