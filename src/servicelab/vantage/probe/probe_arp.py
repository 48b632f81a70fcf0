"""ARP on one link (RFC 826): who has an address, and what is said about it unasked.

Through a packet socket, past the kernel's own neighbour table: it would keep one answer and hide
the others. Needs CAP_NET_RAW.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import threading
import time

from probe_call import Call, Failure, Json

ETH_P_ARP = 0x0806
SIOCGIFADDR = 0x8915
PACKET_OUTGOING = 4
BROADCAST = b"\xff" * 6
FRAME = struct.Struct("!6s6sH")
ARP = struct.Struct("!HHBBH6s4s6s4s")
IPV4_ON_ETHERNET = (1, 0x0800, 6, 4)
REQUEST, REPLY = 1, 2
OPERATIONS = {REQUEST: "request", REPLY: "reply"}


def ask_arp(call: Call) -> None:
    """Who has an address: everyone who answers, until `gather` seconds after the first."""
    address = call.request["address"]
    gather = float(call.request.get("gather", 0.2))
    link, own = _link(call.request)
    answers: list[Json] = []
    call.reply |= {"link": link, "answers": answers}
    with _listening(link) as sock:
        mac = sock.getsockname()[4]
        sock.send(
            FRAME.pack(BROADCAST, mac, ETH_P_ARP)
            + ARP.pack(*IPV4_ON_ETHERNET, REQUEST, mac, _packed(own), bytes(6), _packed(address))
        )
        until = call.deadline
        while (left := until - time.monotonic()) > 0:
            sock.settimeout(left)
            try:
                packet = _packet(*sock.recvfrom(2048))
            except TimeoutError:
                break
            if packet and packet["op"] == "reply" and packet["sender_ip"] == address:
                answers.append({"mac": packet["sender_mac"], "seconds": call.elapsed()})
                until = min(call.deadline, time.monotonic() + gather)
    if not answers:
        raise Failure("timeout", f"nobody on {link} said that it has {address}")


def ask_arp_watch(call: Call) -> None:
    """What is said about an address within the request's time."""
    watched = Watched(call.request, 1 << 30)
    watched.start()
    watched.join(max(0.0, call.deadline - time.monotonic()))
    call.reply |= {"link": watched.link, "packets": [each["packets"][0] for each in watched.end()]}


class Watched(threading.Thread):
    """Every ARP packet about an address, each as one reply, without a gap."""

    def __init__(self, request: Json, most: int) -> None:
        super().__init__(daemon=True)
        self.address = request["address"]
        self.link, _ = _link(request)
        self.most = most
        self.replies: list[Json] = []
        self.sock = _listening(self.link)
        self.sock.setblocking(False)
        self.over, self.end_now = os.pipe()

    def run(self) -> None:
        ended = False
        while not ended and len(self.replies) < self.most:
            ended = self.over in select.select([self.sock.fileno(), self.over], [], [])[0]
            self._take()  # also what came in before the end and was not read yet

    def _take(self) -> None:
        while len(self.replies) < self.most:
            try:
                packet = _packet(*self.sock.recvfrom(2048))
            except BlockingIOError:
                return
            if packet and self.address in (packet["sender_ip"], packet["target_ip"]):
                reply: Json = {"ok": True, "started": packet["at"], "seconds": 0.0}
                self.replies.append(reply | {"link": self.link, "packets": [packet]})

    def end(self) -> list[Json]:
        """Stop listening."""
        os.close(self.end_now)
        self.join()
        os.close(self.over)
        self.sock.close()
        return self.replies


def _listening(link: str) -> socket.socket:
    """A socket that hears the link's ARP from now on."""
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError as error:
        raise Failure("other", "no packet socket: it needs CAP_NET_RAW") from error
    try:
        sock.bind((link, ETH_P_ARP))  # with protocol 0 until here it heard no other link
    except OSError as error:
        sock.close()
        raise Failure("other", f"can't listen on {link}: {error.strerror}") from error
    return sock


def _packet(frame: bytes, source: tuple[str, int, int, int, bytes]) -> Json | None:
    """What a frame says, None if it is not about IPv4 addresses or is our own."""
    if source[2] == PACKET_OUTGOING or len(frame) < FRAME.size + ARP.size:
        return None
    to, sender, _ = FRAME.unpack_from(frame)
    *kind, op, mac, ip, target_mac, target_ip = ARP.unpack_from(frame, FRAME.size)
    if tuple(kind) != IPV4_ON_ETHERNET or op not in OPERATIONS:
        return None
    return {
        "at": time.time(),
        "op": OPERATIONS[op],
        "sender_mac": mac.hex(":"),
        "sender_ip": socket.inet_ntoa(ip),
        "target_mac": target_mac.hex(":"),
        "target_ip": socket.inet_ntoa(target_ip),
        "from_mac": sender.hex(":"),
        "to_mac": to.hex(":"),
    }


def _link(request: Json) -> tuple[str, str]:
    """The link that an address is asked for on, and our own address there."""
    addresses = {name: own for _, name in socket.if_nameindex() if (own := _address_of(name))}
    link = request.get("link")
    if link is not None:
        if link not in addresses:
            raise Failure("other", f"there is no link {link!a} with an IPv4 address")
        return link, addresses[link]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((request["address"], 9))  # sends nothing; the kernel chooses the way
        own = sock.getsockname()[0]
    for name, address in addresses.items():
        if address == own:
            return name, own
    raise Failure("other", f"no link has {own}, from where {request['address']} is reached")


def _address_of(link: str) -> str | None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            said = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("16s24x", link.encode()))
        except OSError:
            return None
    return socket.inet_ntoa(said[20:24])


def _packed(address: str) -> bytes:
    try:
        return socket.inet_aton(address)
    except OSError as error:
        raise Failure("other", f"{address!a} is not an IPv4 address") from error
