"""The chains of one Service's port in kube-proxy's iptables mode: SVC, SVL, EXT, FW, SEP."""

from __future__ import annotations

from collections.abc import Mapping, Set

from servicelab.observe.iptables_save import Line, Table
from servicelab.observe.port_rules import Choice, Match, address, equal_shares, port_number
from servicelab.observe.unreadable import RulesUnreadable

_MASQUERADE = "KUBE-MARK-MASQ"
_RECENT: Set[str] = {"--name", "--mask", "--rsource"}
_OF_ONE_PORT = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-")


def check(
    line: Line, options: Mapping[str, str], needed: Set[str], allowed: Set[str] = frozenset()
) -> None:
    """Raise RulesUnreadable unless a line has these options and no other."""
    if missing := needed - options.keys():
        raise line.unreadable(f"without {', '.join(sorted(missing))}")
    if unknown := options.keys() - needed - allowed:
        raise line.unreadable(f"{', '.join(sorted(unknown))} not expected in this chain")


class Chains:
    """Follows the chains of the nat table, and notes which were come by."""

    def __init__(self, nat: Table) -> None:
        self._nat = nat
        self._used: set[str] = set()

    def check_all_used(self) -> None:
        """Raise RulesUnreadable if a chain leads somewhere, but nothing leads to it.

        kube-proxy deletes such chains; one that is left means that a line is missing.
        """
        for chain, lines in self._nat.chains.items():
            if chain.startswith(_OF_ONE_PORT) and lines and chain not in self._used:
                raise RulesUnreadable(f"iptables chain {chain}", "nothing leads to it")

    def service(self, line: Line, chain: str, match: Match) -> Choice:
        """A KUBE-SVC- or KUBE-SVL- chain: all endpoints, or those on this node."""
        endpoints: list[tuple[str, int]] = []
        chances: list[float | None] = []
        remembered: list[tuple[str, int]] = []
        seconds: set[int] = set()
        where = f"iptables chain {chain}"
        for inner in self._enter(line, chain, "KUBE-SVC-", "KUBE-SVL-"):
            options = inner.options()
            if options.get("-j") == _MASQUERADE:
                _check_masquerade(inner, options, match)
            elif "--rcheck" in options:
                check(
                    inner, options, {"--comment", "--rcheck", "--seconds", "--reap", "-j"}, _RECENT
                )
                if endpoints or options.get("--name") != options["-j"]:
                    raise inner.unreadable("affinity out of place")
                remembered.append(self._endpoint(inner, options, match, affinity=True))
                seconds.add(_seconds(inner, options["--seconds"]))
            else:
                check(inner, options, {"--comment", "-j"}, {"--mode", "--probability"})
                chances.append(_chance(inner, options))
                endpoints.append(self._endpoint(inner, options, match, affinity=bool(remembered)))
        if not endpoints or len(set(endpoints)) != len(endpoints):
            raise RulesUnreadable(where, "no endpoints, or one of them twice", endpoints)
        equal_shares(chances, where)
        if not remembered:
            return Choice(tuple(endpoints), "random")
        if len(seconds) != 1 or sorted(remembered) != sorted(endpoints):
            raise RulesUnreadable(where, "affinity and choice differ in their endpoints or seconds")
        return Choice(tuple(endpoints), "random", seconds.pop(), "recent")

    def external(self, line: Line, chain: str, match: Match) -> Choice:
        """A KUBE-EXT- chain, for a client outside the cluster: its last, unconditional jump."""
        choice = Choice()
        for inner in self._enter(line, chain, "KUBE-EXT-"):
            options = inner.options()
            if choice.endpoints:
                raise inner.unreadable("comes after the chain's last jump")
            if options.get("-j") == _MASQUERADE:
                check(inner, options, {"--comment", "-j"}, {"--src-type"})
                _check_external_comment(inner, options["--comment"], match)
            elif "--comment" in options:
                check(inner, options, {"--comment", "-j"}, {"-s", "-i", "--src-type"})
                if not options.keys() & {"-s", "-i", "--src-type"}:
                    raise inner.unreadable("a shortcut without a condition")
                _check_external_comment(inner, options["--comment"], match)
                self.service(inner, options["-j"], match)
            else:
                check(inner, options, {"-j"})
                choice = self.service(inner, options["-j"], match)
        return choice

    def firewall(self, line: Line, chain: str, match: Match) -> Choice:
        """A KUBE-FW- chain, for a client in the loadBalancerSourceRanges."""
        targets: set[str] = set()
        ended = False
        choice = Choice()
        for inner in self._enter(line, chain, "KUBE-FW-"):
            options = inner.options()
            if "-j" not in options:
                check(inner, options, {"--comment"})
                ended = True
                continue
            check(inner, options, {"-s", "--comment", "-j"})
            if options["--comment"] != f"{match.name} loadbalancer IP":
                raise inner.unreadable(f"not a rule of {match.name}")
            targets.add(options["-j"])
            choice = self.external(inner, options["-j"], match)
        if len(targets) != 1 or not ended:
            raise RulesUnreadable(f"iptables chain {chain}", "it is cut", sorted(targets))
        return choice

    def _endpoint(
        self, line: Line, options: Mapping[str, str], match: Match, *, affinity: bool
    ) -> tuple[str, int]:
        """Follow a jump to a KUBE-SEP- chain; the jump's comment must say the same endpoint."""
        chain = options["-j"]
        found: list[tuple[str, int]] = []
        for inner in self._enter(line, chain, "KUBE-SEP-"):
            own = inner.options()
            if own.get("--comment") != str(match.name):
                raise inner.unreadable(f"not a rule of {match.name}")
            if own.get("-j") == _MASQUERADE:
                check(inner, own, {"-s", "--comment", "-j"})
                continue
            check(inner, own, {"-p", "--comment", "-j", "--to-destination"}, {"--set", *_RECENT})
            remembers = "--set" in own
            if own["-j"] != "DNAT" or own["-p"] != match.protocol or remembers != affinity:
                raise inner.unreadable("not the DNAT to this endpoint")
            if remembers and own.get("--name") != chain:
                raise inner.unreadable("remembers the client under another chain's name")
            ip, _, port = own["--to-destination"].rpartition(":")
            ip = ip.removeprefix("[").removesuffix("]")
            found.append((address(ip, inner.where), port_number(port, inner.where)))
            if options["--comment"] != f"{match.name} -> {own['--to-destination']}":
                raise inner.unreadable(f"line {line.number} says another endpoint")
        if len(found) != 1:
            raise RulesUnreadable(f"iptables chain {chain}", "not one DNAT", found)
        return found[0]

    def _enter(self, line: Line, chain: str, *prefixes: str) -> list[Line]:
        if not chain.startswith(prefixes) or chain not in self._nat.chains:
            raise line.unreadable(f"leads to {chain}, which isn't {' or '.join(prefixes)} here")
        self._used.add(chain)
        return self._nat.chains[chain]


def _check_masquerade(line: Line, options: Mapping[str, str], match: Match) -> None:
    check(line, options, {"-d", "-p", "--comment", "--dport", "-j"}, {"! -s", "! -i"})
    same_port = match.kind != "cluster" or (
        options["-d"].partition("/")[0] == match.ip and options["--dport"] == str(match.port)
    )
    same_name = options["--comment"] == f"{match.name} cluster IP"
    if not same_port or not same_name or options["-p"] != match.protocol:
        raise line.unreadable(f"not the cluster IP of {match.name}")


def _check_external_comment(line: Line, comment: str, match: Match) -> None:
    if not comment.endswith(f" for {match.name} external destinations"):
        raise line.unreadable(f"not a rule of {match.name}")


def _chance(line: Line, options: Mapping[str, str]) -> float | None:
    if "--probability" not in options and "--mode" not in options:
        return None
    if options.get("--mode") != "random":
        raise line.unreadable("a choice that isn't random")
    try:
        return float(options.get("--probability", ""))
    except ValueError:
        raise line.unreadable("--probability is not a number") from None


def _seconds(line: Line, text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise line.unreadable("--seconds is not a number")
    return int(text)
