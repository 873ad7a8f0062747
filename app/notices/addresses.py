"""Which addresses Linli may be sent to by somebody who types in a URL: the public ones, and private ones on a list.

Without this, whoever may register a webhook could have Linli knock at the databases, routers and cloud metadata of the
network that it runs in, and read what answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NEVER: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "0.0.0.0/8",  # this network; connects to this machine
        "169.254.0.0/16",  # link-local, and the metadata of most clouds
        "100.100.100.200/32",  # the metadata of another
        "192.0.0.0/24",  # protocol assignments, and the metadata of one more
        "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",  # documentation
        "192.88.99.0/24",  # relays of 6to4
        "224.0.0.0/4", "240.0.0.0/4",  # multicast; reserved, and broadcast
        "fd00:ec2::/32",  # metadata by IPv6
    )
)  # fmt: skip
"""Nobody is reached there, whatever the list of private hosts says."""

PRIVATE: tuple[Network, ...] = tuple(
    ip_network(one)
    for one in (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7",
        "127.0.0.0/8", "::1/128",
        "100.64.0.0/10",  # behind a carrier's NAT
        "198.18.0.0/15",  # benchmarks
    )
)  # fmt: skip
"""Reached only by hosts on the list of the operator."""

UNICAST_6 = IPv6Network("2000::/3")
NOT_UNICAST_6: tuple[IPv6Network, ...] = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32", "3fff::/20",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise, behind anybody's relay
    )
)  # fmt: skip
NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: Address) -> bool:
    """Whether the address belongs to somebody on the Internet; of one that wraps an IPv4 address, whether that does."""
    address = unwrapped(address)
    if any(address in network for network in (*NEVER, *PRIVATE)):
        return False
    if isinstance(address, IPv6Address):
        return address in UNICAST_6 and not any(address in network for network in NOT_UNICAST_6)
    return True


def is_private(address: Address) -> bool:
    """Whether the operator's list may open it."""
    address = unwrapped(address)
    return any(address in one for one in PRIVATE) and not any(address in one for one in NEVER)


def unwrapped(address: Address) -> Address:
    """The IPv4 address to which packets really go, for those IPv6 addresses that only carry one."""
    if not isinstance(address, IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    # Hosts that speak IPv6 only see every IPv4 host so.
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else address


def parse(text: str) -> Address | None:
    """The address that a resolver or a URL names; None when it is none."""
    try:
        return ip_address(text.partition("%")[0])
    except ValueError:
        return None


@dataclass(frozen=True)
class PrivateHosts:
    """The operator's list: names, addresses and networks that may be private."""

    names: frozenset[str]
    networks: tuple[Network, ...]

    def opens(self, host: str, address: Address) -> bool:
        return is_private(address) and (
            host in self.names or any(unwrapped(address) in network for network in self.networks)
        )


@cache
def private_hosts(listed: tuple[str, ...]) -> PrivateHosts:
    """The list as the setting has it."""
    names: set[str] = set()
    networks: list[Network] = []
    for entry in listed:
        try:
            networks.append(ip_network(entry.strip(), strict=False))
        except ValueError:
            names.add(entry.strip().lower().rstrip("."))
    return PrivateHosts(frozenset(names), tuple(networks))


def may_reach(host: str, addresses: Sequence[Address], listed: PrivateHosts) -> bool:
    """Whether every one of a host's addresses may be connected to: one that may not spoils the rest."""
    return bool(addresses) and all(is_public(one) or listed.opens(host, one) for one in addresses)
