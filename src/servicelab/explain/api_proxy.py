"""Where there is no probe to ask from, the API server asks the Pods: HTTP only, and no Service.

It leads a GET to a Pod's own address, past kube-proxy and DNS: it shows whether somebody listens at
the targetPort, and nothing about the way there from a client.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from servicelab.explain.answers import Answers, Place, Question
from servicelab.explain.reading import Access
from servicelab.explain.snapshot import Snapshot

API_SERVER = Place("API server", "api")
#: What the API server says of a connection that failed, and what that is called here.
_FAILURES = {
    "connection refused": "refused",
    "no route to host": "unreachable",
    "timeout": "timeout",
    "deadline exceeded": "timeout",
}


def ask_by_api_server(
    access: Access, s: Snapshot, questions: Sequence[Question], timeout: float
) -> list[Answers]:
    """Ask the backends that are Pods, over TCP; the others, and what is refused, are left out.

    Args:
        access: the cluster.
        s: the Service.
        questions: what to ask of which backend.
        timeout: seconds for each.
    """
    from kubernetes.client import CoreV1Api

    core: Any = CoreV1Api(access.client)
    pods = {each.address: each.pod for each in s.endpoints if each.pod}
    asked = [each for each in questions if each.protocol == "TCP" and each.target in pods]
    if not asked:
        return []
    with ThreadPoolExecutor(max_workers=min(8, len(asked))) as asking:
        met = asking.map(
            lambda each: _ask(core, s.namespace, f"{pods[each.target]}:{each.port}", timeout), asked
        )
        return [
            Answers(
                API_SERVER,
                question,
                answered=int(not error),
                connected=int(not error),
                errors={error: 1} if error else {},
            )
            for question, error in zip(asked, met, strict=True)
            if error is not None
        ]


def _ask(core: Any, namespace: str, target: str, timeout: float) -> str | None:
    """What was met: "" for an answer; None if the API server does not ask for us."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        core.connect_get_namespaced_pod_proxy_with_path(
            target, namespace, "hostname", _preload_content=False, _request_timeout=timeout
        )
    except ApiException as error:
        return failure(error.body)
    except HTTPError:
        return "timeout"
    return ""


def failure(body: str | bytes | None) -> str | None:
    """What an error says: of the way to the Pod, "" if it is the Pod's own, None if of neither.

    Args:
        body: of the API server's answer.
    """
    try:
        said = json.loads(body or "")
    except ValueError:
        return ""  # a page of the Pod's
    if not isinstance(said, dict) or said.get("kind") != "Status":
        return ""
    message = str(said.get("message", ""))
    if "error trying to reach service" not in message:
        return None
    # Anything else is an answer in another protocol.
    return next((word for words, word in _FAILURES.items() if words in message), "")
