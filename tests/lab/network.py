"""The lab's network: VM, gateway and cloud, each a network namespace, with a gateway that forgets idle connections.

    vm 10.77.1.2 ── 10.77.1.1 gw 10.77.2.1 ── 10.77.2.2 cloud
                       (NAT)

The gateway does what the NAT of an office or a cloud does to a connection that nobody uses for a while: it drops the
flow from its table without notifying either side. A later packet of that connection is invalid to it (it is no
SYN, and `nf_conntrack_tcp_loose=0` forbids picking a flow up in the middle) and vanishes. The client then waits for
an answer that cannot come, for as long as its own time-out allows, or, without one, until the kernel gives up.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from tests.lab.errors import LabError
from tests.lab.run import run

VM_ADDRESS = "10.77.1.2"
CLOUD_ADDRESS = "10.77.2.2"
# A call without a time-out (webex_bot fetches each message by one) hangs until the kernel has sent its request so many
# times, 15 by default, and gives up: after 924 s. That is as long as a few minutes' memory of an office's gateway is
# short; where the gateway forgets in seconds, all threads of an unpatched bot would hang from the second burst on, and
# show no failure for a quarter of an hour. Eight are 102 s, which leaves the bots' own 60 s as they are.
RETRANSMISSIONS = 8

_RULES = """
table ip nat {
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "cloud" masquerade
  }
}
table ip filter {
  chain forward {
    type filter hook forward priority filter; policy accept;
    ct state invalid drop
    tcp flags & (fin|syn|rst|ack) != syn ct state new drop
  }
  chain cut {
    type filter hook forward priority filter + 1; policy accept;
  }
}
"""


@dataclass(frozen=True)
class Network:
    """Three namespaces named after the lab; `up` and `down` are safe to call twice."""

    name: str

    @property
    def vm(self) -> str:
        return f"wbr-{self.name}-vm"

    @property
    def gateway(self) -> str:
        return f"wbr-{self.name}-gw"

    @property
    def cloud(self) -> str:
        return f"wbr-{self.name}-cloud"

    def up(self, *, forget_idle_after: int) -> None:
        """Build the namespaces; `forget_idle_after` is the gateway's memory for an idle connection, in seconds."""
        self.down()
        for namespace in (self.vm, self.gateway, self.cloud):
            run(["ip", "netns", "add", namespace])
            run(["ip", "-n", namespace, "link", "set", "lo", "up"])
        self._wire(self.vm, "eth0", f"{VM_ADDRESS}/24", "vm", "10.77.1.1/24")
        self._wire(self.cloud, "eth0", f"{CLOUD_ADDRESS}/24", "cloud", "10.77.2.1/24")
        run(["ip", "-n", self.vm, "route", "add", "default", "via", "10.77.1.1"])
        run(["ip", "netns", "exec", self.gateway, "nft", "-f", "-"], stdin=_RULES)
        self._sysctl(self.gateway, "net.ipv4.ip_forward", 1)
        self._sysctl(self.gateway, "net.netfilter.nf_conntrack_tcp_loose", 0)
        self._sysctl(self.vm, "net.ipv4.tcp_retries2", RETRANSMISSIONS)
        self.forget_idle_after(forget_idle_after)

    def forget_idle_after(self, seconds: int) -> None:
        """Set how long the gateway remembers an established connection that carries no packet."""
        self._sysctl(self.gateway, "net.netfilter.nf_conntrack_tcp_timeout_established", seconds)

    def cut(self) -> None:
        """Drop every packet between VM and cloud, silently, until `mend`."""
        run(["ip", "netns", "exec", self.gateway, "nft", "add", "rule", "ip", "filter", "cut", "drop"])

    def mend(self) -> None:
        """Undo `cut`."""
        run(["ip", "netns", "exec", self.gateway, "nft", "flush", "chain", "ip", "filter", "cut"])

    def down(self) -> None:
        """Remove the namespaces; whatever still runs in them keeps running without a network."""
        for namespace in (self.vm, self.gateway, self.cloud):
            with suppress(LabError):
                run(["ip", "netns", "del", namespace])

    def _wire(self, namespace: str, link: str, address: str, gateway_link: str, gateway_address: str) -> None:
        run(
            [
                "ip",
                "-n",
                self.gateway,
                "link",
                "add",
                gateway_link,
                "type",
                "veth",
                "peer",
                "name",
                link,
                "netns",
                namespace,
            ]
        )
        for where, name, cidr in ((namespace, link, address), (self.gateway, gateway_link, gateway_address)):
            run(["ip", "-n", where, "address", "add", cidr, "dev", name])
            run(["ip", "-n", where, "link", "set", name, "up"])

    @staticmethod
    def _sysctl(namespace: str, key: str, value: int) -> None:
        path = "/proc/sys/" + key.replace(".", "/")
        # net.* below /proc/sys is per network namespace, so the write must happen inside.
        run(["ip", "netns", "exec", namespace, "sh", "-c", f"echo {value} > {path}"])
