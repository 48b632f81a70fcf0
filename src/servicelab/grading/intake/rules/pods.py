"""What a Pod may ask of its node: the `baseline` Pod Security standard, and less."""

from __future__ import annotations

from servicelab.grading.intake.policy import Policy
from servicelab.grading.intake.rules.place import Place
from servicelab.manifests import ImageReference

_NODE = "it chooses the node, which this exercise leaves to the scheduler"
_NODE_CHOICE = ("nodeName", "nodeSelector", "tolerations")
_POD = (
    *("containers", "initContainers", "volumes", "restartPolicy", "terminationGracePeriodSeconds"),
    *("activeDeadlineSeconds", "dnsPolicy", "dnsConfig", "hostname", "subdomain", "hostAliases"),
    *("setHostnameAsFQDN", "securityContext", "enableServiceLinks", "readinessGates", "affinity"),
    *("topologySpreadConstraints", "shareProcessNamespace", "serviceAccountName"),
    *("serviceAccount", "automountServiceAccountToken", "schedulerName"),
)
_REFUSED_POD = {
    "hostNetwork": "the Pod would use its node's network, not one of its own",
    "hostPID": "the Pod would see its node's processes",
    "hostIPC": "the Pod would share its node's memory segments",
    "hostUsers": "it changes how the Pod is separated from its node",
    "ephemeralContainers": "only kubectl debug adds such containers",
    "priorityClassName": "Pods of a higher priority push others off their node",
    "priority": "Pods of a higher priority push others off their node",
    "preemptionPolicy": "it decides whether others are pushed off their node",
    "runtimeClassName": "it changes what runs the containers",
    "resourceClaims": "it asks for devices of the node",
    "schedulingGates": "the Pod would wait for somebody who does not come",
    "imagePullSecrets": "the images are on the nodes already",
}
_CONTAINER = (
    *("name", "image", "imagePullPolicy", "command", "args", "workingDir", "ports", "env"),
    *("envFrom", "resources", "volumeMounts", "livenessProbe", "readinessProbe", "startupProbe"),
    *("lifecycle", "securityContext", "terminationMessagePath", "terminationMessagePolicy"),
    *("stdin", "stdinOnce", "tty", "restartPolicy", "resizePolicy"),
)
_REFUSED_CONTAINER = {"volumeDevices": "it asks for a device of the node"}
_PORT = ("name", "containerPort", "protocol")
_REFUSED_PORT = {
    "hostPort": "it takes a port of the node, which others share",
    "hostIP": "it takes an address of the node, which others share",
}
_SECURITY = (
    *("runAsUser", "runAsGroup", "runAsNonRoot", "seccompProfile", "appArmorProfile"),
    *("fsGroup", "fsGroupChangePolicy", "supplementalGroups", "supplementalGroupsPolicy"),
    *("allowPrivilegeEscalation", "readOnlyRootFilesystem", "capabilities", "procMount"),
)
_REFUSED_SECURITY = {
    "privileged": "a privileged container can do on its node whatever root can",
    "sysctls": "it changes settings of the kernel",
    "seLinuxOptions": "it changes how the container is separated from its node",
    "windowsOptions": "the nodes run Linux",
}
_CAPABILITIES = ("NET_BIND_SERVICE",)
_PROFILES = ("seccompProfile", "appArmorProfile")
_VOLUMES = ("emptyDir", "configMap", "downwardAPI", "projected")
_VOLUMES_OF_KINDS = {"secret": "Secret", "persistentVolumeClaim": "PersistentVolumeClaim"}
_REFUSED_VOLUMES = {
    "hostPath": "the Pod would read and write its node's files",
    "image": "it brings in another image",
    "csi": "it asks for a volume of the node",
    "ephemeral": "the cluster has no storage for exercises",
    "nfs": "it asks another machine for files",
    "iscsi": "it asks another machine for files",
}
_PROJECTED = ("configMap", "downwardAPI")
_LONGEST_IMAGE = 1000
"""Characters: a name of 255, a tag of 128, a digest."""
_TOKEN = {"serviceAccountToken": "it would bring a key to the API server into the Pod"}
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_ASKS = ("httpGet", "tcpSocket")


def check(spec: Place, policy: Policy) -> None:
    """Hold a Pod's spec against the policy."""
    allowed = (*_POD, *_NODE_CHOICE) if policy.node_choice else _POD
    refused = {**dict.fromkeys(_NODE_CHOICE, _NODE), **_REFUSED_POD}
    fields = spec.only(allowed, refused, "a Pod")
    if not spec.at("containers").given:
        spec.refuse("the Pod has no containers")
    for key in ("containers", "initContainers"):
        for container in spec.at(key).items():
            _check_container(container, policy)
    for volume in spec.at("volumes").items():
        _check_volume(volume, policy)
    _check_security(spec.at("securityContext"), "a Pod's securityContext")
    _check_account(spec)
    _check_affinity(spec.at("affinity"), policy)
    most = policy.max_grace_seconds
    spec.at("terminationGracePeriodSeconds").between(0, most, "terminationGracePeriodSeconds")
    scheduler = fields.get("schedulerName")
    if scheduler and scheduler.text() not in ("", "default-scheduler"):
        scheduler.refuse("there is no such scheduler", "leave schedulerName out")


def _check_account(spec: Place) -> None:
    for key in ("serviceAccountName", "serviceAccount"):
        account = spec.at(key)
        if account.given and account.text() not in ("", "default"):
            account.refuse("the Pod asks for an account of the API server", f"leave {key} out")
    mount = spec.at("automountServiceAccountToken")
    if mount.given:
        why = "it would bring a key to the API server into the Pod"
        mount.refuse(why, "leave it out, or write false")


def _check_affinity(affinity: Place, policy: Policy) -> None:
    node = affinity.at("nodeAffinity")
    if node.given and not policy.node_choice:
        node.refuse(_NODE, "leave nodeAffinity out")
    affinity.only(("nodeAffinity", "podAffinity", "podAntiAffinity"), {}, "affinity")
    for kind in ("podAffinity", "podAntiAffinity"):
        for terms in affinity.at(kind).fields().values():
            for item in terms.items():
                term = item.at("podAffinityTerm") if item.at("podAffinityTerm").given else item
                for key in ("namespaces", "namespaceSelector"):
                    # Even an empty selector is one: it means every namespace.
                    if (field := term.at(key)).value is not None:
                        field.refuse(
                            "it keeps others' Pods away from nodes, or follows them",
                            f"leave {key} out",
                        )


def _check_container(container: Place, policy: Policy) -> None:
    container.only(_CONTAINER, _REFUSED_CONTAINER, "a container")
    _check_image(container, policy)
    for port in container.at("ports").items():
        port.only(_PORT, _REFUSED_PORT, "a container's port")
    for variable in container.at("env").items():
        variable.at("name").text()
        variable.at("value").text()
    for key in ("command", "args"):
        for word in container.at(key).items():
            word.text()
    _check_security(container.at("securityContext"), "a container's securityContext")
    for key in _PROBES:
        _check_ask(container.at(key))
    for key in _HOOKS:
        _check_ask(container.at("lifecycle", key))


def _check_image(container: Place, policy: Policy) -> None:
    image = container.at("image")
    if not image.given:
        container.refuse("the container names no image")
        return
    text = image.text()
    if not text:
        return
    remedy = f"use {' or '.join(sorted(policy.images))}"
    try:
        wanted = ImageReference.parse(text[:_LONGEST_IMAGE])
    except ValueError as error:
        image.refuse(f"this is no image: {error}", remedy)
        return
    if wanted not in {ImageReference.parse(each) for each in policy.images}:
        image.refuse("this image is not one of the exercise's", remedy)
    pull = container.at("imagePullPolicy")
    if pull.text() == "Always":
        pull.refuse("the images are on the nodes, and nowhere else", "write IfNotPresent")


def _check_ask(probe: Place) -> None:
    """A kubelet asks from its node: it must ask the Pod itself, nobody else."""
    for key in _ASKS:
        if (host := probe.at(key, "host")).given:
            host.refuse("the node would ask another host than the Pod", "leave host out")
    grace = probe.at("terminationGracePeriodSeconds")
    grace.between(1, 60, "terminationGracePeriodSeconds")


def _check_security(context: Place, of: str) -> None:
    fields = context.only(_SECURITY, _REFUSED_SECURITY, of)
    for added in context.at("capabilities", "add").items():
        if added.text() not in _CAPABILITIES:
            added.refuse(
                "it gives the container more of root's rights", f"add {_CAPABILITIES[0]} at most"
            )
    for key in _PROFILES:
        kind = context.at(key, "type")
        if kind.given and kind.text() != "RuntimeDefault":
            kind.refuse("it takes a guard away from the container", "use RuntimeDefault")
    mount = fields.get("procMount")
    if mount and mount.text() not in ("", "Default"):
        mount.refuse("it shows the node's settings to the container", "leave procMount out")


def _check_volume(volume: Place, policy: Policy) -> None:
    allowed = ["name", *_VOLUMES]
    kinds = {kind for _, kind in policy.kinds}
    allowed += [volume for volume, kind in _VOLUMES_OF_KINDS.items() if kind in kinds]
    refused = dict.fromkeys(_VOLUMES_OF_KINDS, "this exercise has no such objects")
    volume.only(allowed, {**refused, **_REFUSED_VOLUMES}, "a volume")
    for source in volume.at("projected", "sources").items():
        source.only(_PROJECTED, _TOKEN, "a projected volume")
