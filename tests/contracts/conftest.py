"""One cluster for all contract tests, and one site for each implementation."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from seawall.node.cluster import LocalCluster
from tests.contracts.sites import (
    BusSite,
    JetStreamSite,
    LogSite,
    MemoryBusSite,
    MemorySite,
    NatsBusSite,
    SqliteSite,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalCluster]:
    """Three broker processes, shared: a test that kills one brings it back."""
    cluster = LocalCluster(tmp_path_factory.mktemp("cluster"))
    await cluster.start()
    yield cluster
    await cluster.stop_gently()


@pytest_asyncio.fixture
async def jetstream(
    cluster: LocalCluster, request: pytest.FixtureRequest
) -> AsyncIterator[JetStreamSite]:
    """A stream of the test's own."""
    site = JetStreamSite(cluster, _stream_name(request))
    await site.prepare()
    yield site
    await site.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite-inline", "jetstream"])
def log_kind(request: pytest.FixtureRequest) -> tuple[str, LocalCluster | None]:
    """Each log in turn; the cluster starts only for the one that needs it."""
    kind = str(request.param)
    return kind, request.getfixturevalue("cluster") if kind == "jetstream" else None


@pytest_asyncio.fixture
async def site(
    log_kind: tuple[str, LocalCluster | None], request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[LogSite]:
    """Where the log in turn lives."""
    kind, cluster = log_kind
    site: LogSite
    if cluster is not None:
        stream_site = JetStreamSite(cluster, _stream_name(request))
        await stream_site.prepare()
        site = stream_site
    elif kind == "memory":
        site = MemorySite()
    else:
        site = SqliteSite(tmp_path, threaded=kind == "sqlite")
    yield site
    await site.close()


@pytest.fixture(params=["memory", "nats"])
def bus_cluster(request: pytest.FixtureRequest) -> LocalCluster | None:
    """The cluster for the bus that needs one."""
    return request.getfixturevalue("cluster") if request.param == "nats" else None


@pytest_asyncio.fixture
async def bus_site(bus_cluster: LocalCluster | None) -> AsyncIterator[BusSite]:
    """Each bus in turn."""
    site: BusSite = MemoryBusSite() if bus_cluster is None else NatsBusSite(bus_cluster)
    yield site
    await site.close()


def _stream_name(request: pytest.FixtureRequest) -> str:
    """The test's own name, of which the broker makes a folder."""
    return re.sub(r"[^A-Za-z0-9]+", "_", request.node.name)
