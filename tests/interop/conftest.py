"""One namespace for the session, one twinspand for each module; each module ends with its books checked."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

pytest.register_assert_rewrite("harness", "far_end", "hosts", "ipfix", "packets", "peer", "strongswan", "wire")

import harness  # noqa: E402

SITE_OPTIONS = ("CONFIG", "ROUTES", "NEIGHBOURS", "SA_FILE_HEAD", "SA_FILES", "QUEUES", "MTU", "PCAP")


def pytest_collection_modifyitems(items):
    for item in items:
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="network namespaces need root"))


@pytest.fixture(scope="session")
def namespace():
    made = harness.Namespace(f"twi-{os.getpid()}")
    yield made
    made.remove()


@pytest.fixture(scope="module")
def site(request, namespace, tmp_path_factory):
    """A module may name another configuration, and what Linux is told after the start: CONFIG, ROUTES, NEIGHBOURS; what its SA files
    begin with, SA_FILE_HEAD, or are, SA_FILES; QUEUES and MTU of the ports, and whether
    they are libpcap's, PCAP."""
    folder = tmp_path_factory.mktemp(request.module.__name__)
    options = {key.lower(): getattr(request.module, key) for key in SITE_OPTIONS if hasattr(request.module, key)}
    made = harness.Site(namespace, folder, f"twi-{os.getpid()}", **options)
    try:
        yield made.start()
        made.expect_exact_accounting()
    finally:
        made.end()


@pytest.fixture(scope="session", autouse=True)
def memory_is_given_back():
    """Sessions that live when a daemon ends stay in /dev/shm; who started it takes them away."""
    yield
    assert [str(file) for file in Path("/dev/shm").glob(f"twinspan-twi-{os.getpid()}*")] == []


@pytest.fixture(scope="session", autouse=True)
def veteran(memory_is_given_back, tmp_path_factory):
    """A second site that nobody touches until the last module."""
    harness.remove_abandoned()
    namespace = harness.Namespace(f"twi-{os.getpid()}-veteran")
    made = harness.Site(namespace, tmp_path_factory.mktemp("veteran"), f"twi-{os.getpid()}-veteran")
    try:
        yield made.start()
    finally:
        made.end()
        namespace.remove()
