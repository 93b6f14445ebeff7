"""The configuration of one log node, as text for the broker."""

import msgspec

# Room for the largest outcome with its certificate; entries are smaller. The broker counts headers.
MESSAGE_BYTES_MAX = (8 << 20) + (64 << 10)
LOOPBACK = "127.0.0.1"


class NodePorts(msgspec.Struct, frozen=True):
    """The three loopback ports of a node: for clients, for its peers, for monitoring."""

    client: int
    route: int
    http: int


def node_config(
    *, cluster: str, name: str, ports: NodePorts, route_ports: tuple[int, ...], folder: str
) -> str:
    """Return the configuration of node `name`.

    `sync_interval: always` is the point: by default the broker syncs every two minutes, and
    acknowledged entries are lost when the machines lose power together.
    """
    routes = ", ".join(f'"nats://{LOOPBACK}:{port}"' for port in route_ports)
    return f"""\
server_name: "{name}"
listen: "{LOOPBACK}:{ports.client}"
http: "{LOOPBACK}:{ports.http}"
log_file: "{folder}/nats.log"
logfile_size_limit: 16MB
max_payload: {MESSAGE_BYTES_MAX}
max_pending: 64MB
write_deadline: "10s"
ping_interval: "5s"
ping_max: 2
jetstream {{
  store_dir: "{folder}/store"
  max_mem: 256MB
  max_file: 64GB
  sync_interval: always
  strict: true
}}
cluster {{
  name: "{cluster}"
  listen: "{LOOPBACK}:{ports.route}"
  no_advertise: true
  routes: [{routes}]
}}
"""
