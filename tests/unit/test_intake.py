"""What is handed in is read within limits, and taken in as plain data with its lines."""

from __future__ import annotations

import copy
import dataclasses
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from servicelab.errors import InfrastructureError, UsageError
from servicelab.grading.intake import (
    Finding,
    Policy,
    Refused,
    Submission,
    gathering,
    reader,
    reading,
)
from servicelab.grading.intake import take_in as take_in_anywhere
from servicelab.grading.intake.policy import KINDS
from servicelab.grading.intake.rules.objects import KNOWN_KINDS
from servicelab.pins import pins
from servicelab.verdict import deadlines

#: What kubectl prints with --dry-run=client -o yaml.
KUBECTL = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  creationTimestamp: null
  labels:
    app: web
  name: web
spec:
  replicas: 3
  selector:
    matchLabels:
      app: web
  strategy: {{}}
  template:
    metadata:
      creationTimestamp: null
      labels:
        app: web
    spec:
      containers:
      - image: {pins().agnhost_image}
        name: agnhost
        resources: {{}}
status: {{}}
---
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
    nodePort: 30080
  selector:
    app: web
  type: NodePort
status:
  loadBalancer: {{}}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\n"


def take_in(path: Path, policy: Policy | None = None) -> Submission:
    """As the grader does."""
    return take_in_anywhere(path, policy or Policy.default(), namespace="grade-1")


def given(folder: Path, text: str | bytes, name: str = "web.yaml") -> Path:
    """A file that is handed in."""
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_what_kubectl_prints_is_taken_in(tmp_path: Path) -> None:
    """Empty fields that say nothing are dropped, the namespace is filled in, lines are known."""
    submission = take_in(given(tmp_path, KUBECTL))

    deployment, service = submission.documents
    assert deployment.manifest["metadata"] == {
        "labels": {"app": "web"},
        "name": "web",
        "namespace": "grade-1",
    }
    assert "status" not in deployment.manifest
    assert "status" not in service.manifest
    assert (deployment.line, service.line) == (1, 26)
    assert service.line_of("spec", "ports", 0, "nodePort") == 33
    assert service.line_of("spec", "ports", 7, "no such thing") == 31
    assert str(service) == "Service web (web.yaml line 26)"
    assert submission.fixed_node_ports == {30080}
    assert [document.name for document in submission.of_kind("Service")] == ["web"]


def test_a_folder_is_taken_in_whole(tmp_path: Path) -> None:
    """YAML and JSON, in folders too; what is hidden or no manifest by name is passed over."""
    given(tmp_path, CONFIG, "a.yml")
    (tmp_path / "more").mkdir()
    given(tmp_path / "more", CONFIG.replace("web", "more"), "b.YAML")
    given(
        tmp_path, '{\t"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}', "c.json"
    )
    given(tmp_path, "not: [read", ".hidden.yaml")
    given(tmp_path, "# Task", "README.md")
    (tmp_path / ".git").mkdir()

    submission = take_in(tmp_path)

    assert submission.files == ("a.yml", "c.json", "more/b.YAML")
    assert submission.passed_over == ("README.md",)
    assert [document.name for document in submission.documents] == ["web", "c", "more"]


def test_a_list_is_unfolded(tmp_path: Path) -> None:
    """Its items are objects, each with its own lines."""
    items = "".join(
        f"  - apiVersion: v1\n    kind: ConfigMap\n    metadata: {{name: {name}}}\n"
        for name in ("first", "second")
    )
    submission = take_in(given(tmp_path, f"apiVersion: v1\nkind: List\nitems:\n{items}"))

    assert [(each.name, each.line) for each in submission.documents] == [
        ("first", 4),
        ("second", 7),
    ]


def test_other_systems_files_are_read(tmp_path: Path) -> None:
    """A byte order mark and Windows' line ends are no mistake."""
    text = "\ufeff" + KUBECTL.replace("\n", "\r\n")

    assert take_in(given(tmp_path, text)).documents[1].line == 26


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    """The same files give the same digest, wherever they lie; a changed name or byte another."""
    folders = [tmp_path / name for name in ("one", "same", "other name", "other text")]
    for folder in folders:
        folder.mkdir()
    given(folders[0], CONFIG)
    given(folders[1], CONFIG)
    given(folders[2], CONFIG, "app.yaml")
    given(folders[3], f"{CONFIG}#\n")

    one, same, name, text = (take_in(folder).digest for folder in folders)

    assert one == same
    assert len({one, name, text}) == 3


def test_the_name_that_the_task_uses_stands_for_the_namespace(tmp_path: Path) -> None:
    """An object may name the exercise's namespace as the exercise's text does, and no other."""
    path = given(
        tmp_path, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: shop}\n"
    )
    shop = dataclasses.replace(Policy.default(), task_namespace="shop")

    assert take_in(path, shop).manifests[0]["metadata"]["namespace"] == "grade-1"
    with pytest.raises(Refused, match=r"line 3, metadata\.namespace: .*leave namespace out"):
        take_in(path)


def test_file_modes_may_be_octal(tmp_path: Path) -> None:
    """Kubernetes' own documentation writes them so."""
    pod = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers: [{{name: web, image: "{pins().agnhost_image}"}}]
  volumes:
    - name: files
      configMap:
        name: files
        defaultMode: 0644
        items: [{{key: a, path: a, mode: 0400}}]
"""
    volume = take_in(given(tmp_path, pod)).manifests[0]["spec"]["volumes"][0]["configMap"]

    assert (volume["defaultMode"], volume["items"][0]["mode"]) == (0o644, 0o400)


def test_quotes_make_text_of_anything(tmp_path: Path) -> None:
    """What YAML versions disagree on is text in quotes, and in a block."""
    values = ("no", "0777", "1e3", "2026-11-21", "null", "1_000", "~", "<<")
    data = "".join(f'  k{index}: "{value}"\n' for index, value in enumerate(values))
    text = f"{CONFIG}data:\n{data}  block: |\n    on: 08:30\n"

    found = take_in(given(tmp_path, text)).manifests[0]["data"]

    assert tuple(found.values()) == (*values, "on: 08:30\n")


def test_aliases_are_unfolded(tmp_path: Path) -> None:
    """A few aliases are plain YAML; a finding in one is told at the alias."""
    text = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers:
    - &web {{name: web, image: "{pins().agnhost_image}"}}
  initContainers:
    - *web
"""
    pod = take_in(given(tmp_path, text)).manifests[0]

    assert pod["spec"]["initContainers"] == pod["spec"]["containers"]


def test_every_reason_is_told_in_order(tmp_path: Path) -> None:
    """All findings of all files at once, by file and line; each stands alone in its parts."""
    given(tmp_path, CONFIG.replace("ConfigMap", "Role"), "b.yaml")
    given(tmp_path, CONFIG.replace("name: web", "name: web, uid: a, generateName: b"), "a.yaml")

    with pytest.raises(Refused) as refused:
        take_in(tmp_path)

    findings = refused.value.findings
    assert [(each.file, each.path) for each in findings] == [
        ("a.yaml", "metadata.uid"),
        ("a.yaml", "metadata.generateName"),
        ("b.yaml", "kind"),
    ]
    assert findings[0].to_dict() == {
        "file": "a.yaml",
        "line": 3,
        "path": "metadata.uid",
        "why": "only the API server writes this",
        "remedy": "leave uid out",
    }


def test_a_finding_is_safe_to_print() -> None:
    """Whatever a manifest says, a sentence about it is one line of printable text."""
    finding = Finding("\x1b[2J" + "x" * 10_000, "a\nb", 1, "data\u202e", "\0")

    assert str(finding).isprintable()
    assert len(str(finding)) < 1000


def test_what_is_missing_is_the_users_mistake(tmp_path: Path) -> None:
    """A path that does not exist says nothing about a submission."""
    with pytest.raises(UsageError, match="can't be read"):
        take_in(tmp_path / "nobody")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kinds": frozenset({("v1", "Node")})}, "can't allow v1 Node"),
        ({"images": frozenset({"UPPER"})}, "allows the image 'UPPER'"),
        ({"endpoint_networks": ("10.0.0.1/8",)}, "allows the network '10.0.0.1/8'"),
    ],
)
def test_a_policy_is_checked_when_it_is_made(change: dict[str, object], sentence: str) -> None:
    """A mistake in an exercise is the course's, and is told before anybody hands in."""
    with pytest.raises(UsageError, match=sentence):
        dataclasses.replace(Policy.default(), **change)


def test_a_policy_allows_only_what_has_rules() -> None:
    """Each kind that a policy can allow has its rules, and the other way round."""
    assert {kind for _, kind in KINDS} == KNOWN_KINDS


# Limits.


#: The most memory of the process, and of its largest child, KiB. Its own is not asked of getrusage,
#: which counts what its parent had, too.
USED = (
    "own = int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    "child = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "mine = resource.getrusage(resource.RUSAGE_SELF)\n"
    "seconds = sum(each.ru_utime + each.ru_stime for each in (mine, child))\n"
    "print(seconds, own + child.ru_maxrss)"
)


def used_by(code: str, path: Path) -> tuple[float, float]:
    """Run Python in a process of its own: seconds of work, and the most memory, KiB."""
    argv = [sys.executable, "-c", code + USED, str(path)]
    told = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    seconds, kib = map(float, told.split())
    return seconds, kib


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """64 MiB are refused in a second of work, in a process that never holds more than 256 MiB."""
    path = tmp_path / "web.yaml"
    path.write_bytes(b"- a\n" * 16 * 2**20)
    code = (
        "import re, resource, sys\n"
        "from pathlib import Path\n"
        "from servicelab.grading.intake import Policy, Refused, take_in\n"
        "try: take_in(Path(sys.argv[1]), Policy.default(), namespace='n')\n"
        "except Refused as refused: assert 'more than 256 KiB' in str(refused)\n"
    )
    seconds, kib = used_by(code, path)
    assert seconds < 1
    assert kib < 256 * 1024


def test_reader_and_grader_stay_within_memory(tmp_path: Path) -> None:
    """As much as is read at all, of the worst kind, takes less than 256 MiB in both processes."""
    for index in range(4):
        given(tmp_path, "[" + "'', " * 60_000, f"{index}.yaml")
    code = (
        "import re, resource, sys\n"
        "from pathlib import Path\n"
        "from servicelab.grading.intake import Policy, Refused, take_in\n"
        "try: take_in(Path(sys.argv[1]), Policy.default(), namespace='n')\n"
        "except Refused as refused: assert 'more than 20000 values' in str(refused), refused\n"
    )
    _, kib = used_by(code, tmp_path)
    assert kib < 256 * 1024


@pytest.mark.parametrize(
    "hog",
    [
        "bytearray(10**9)",
        "[0] * 10**9",
        "next(i for i in iter(int, 1))",
        "__import__('os').abort()",
        "__import__('sys').stdout.write('x' * 10**8)",
    ],
    ids=["memory", "list", "processor", "abort", "output"],
)
def test_a_reader_that_uses_more_than_it_may_is_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hog: str
) -> None:
    """It is ended by its own limits, and what was handed in is refused with a sentence."""
    script = Path(reader.__file__).read_text()
    ending = "\nif __name__"
    hogging = f"\nCPU_SECONDS = 1\ndocuments_of = lambda *_: {hog}\n{ending}"
    monkeypatch.setattr(
        reading, "_READER", given(tmp_path, script.replace(ending, hogging), "hog.py")
    )

    with pytest.raises(Refused, match=r"reading it takes more than|it could not be read"):
        take_in(given(tmp_path, CONFIG))


def test_a_reader_that_does_not_start_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is broken here says nothing about what was handed in."""
    monkeypatch.setattr(reading, "_READER", given(tmp_path, "import no_such_module", "broken.py"))

    with pytest.raises(
        InfrastructureError, match=r"does not start: ModuleNotFoundError: .*no_such_module"
    ):
        take_in(given(tmp_path, CONFIG))


def test_a_machine_without_time_is_no_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader that gets no processor time used none: the machine is to blame."""
    asleep = "import sys, time; sys.stdin.read(); time.sleep(60)"
    monkeypatch.setattr(reading, "_READER", given(tmp_path, asleep, "asleep.py"))
    before = deadlines.use(deadlines.parse(["manifest_read=0.3"]))
    try:
        with pytest.raises(
            InfrastructureError, match=r"deadlines\.manifest_read.*--deadline-factor"
        ):
            take_in(given(tmp_path, CONFIG))
    finally:
        deadlines.use(before)


NONSENSE = (
    "",
    "null",
    "[]",
    '{"refused": [{}]}',
    '{"refused": [], "documents": [{"file": 9, "line": 1, "node": [1, 2]}]}',
    '{"refused": [], "documents": [{"file": 0, "line": 1, "node": 5}]}',
    "[" * 100_000,
)


def test_a_reader_that_was_taken_over_can_only_say_nonsense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer is data: of another shape it is a refusal, never an error of the grader's."""
    for answer in NONSENSE:
        code = f"import sys; sys.stdin.buffer.read(); print('ready'); print({answer!r})"
        monkeypatch.setattr(reading, "_READER", given(tmp_path, code, "mad.py"))

        with pytest.raises(Refused, match="it could not be read"):
            take_in(given(tmp_path, CONFIG))


def test_a_file_that_is_replaced_meanwhile_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the opening a file becomes a link: it is refused all the same."""
    path = given(tmp_path, CONFIG)
    open_it = os.open

    def replaced(*args: object, **kwargs: object) -> int:
        path.unlink()
        path.symlink_to("/etc/passwd")
        return open_it(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(gathering.os, "open", replaced)
    with pytest.raises(Refused, match="it was replaced while it was read"):
        take_in(path)


def test_a_file_that_grows_meanwhile_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read is bounded, whatever size the file had when it was looked at."""
    path = given(tmp_path, CONFIG)
    look = os.fstat

    def grown(file: int) -> os.stat_result:
        state = look(file)
        os.truncate(path, 64 * 2**20)
        return state

    monkeypatch.setattr(gathering.os, "fstat", grown)
    with pytest.raises(Refused, match="more than 256 KiB"):
        take_in(path)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self", "/dev/stdin"])
def test_what_the_system_has_is_not_read(path: str) -> None:
    """Neither devices nor what the kernel shows of processes."""
    began = time.monotonic()

    with pytest.raises(Refused):
        take_in(Path(path))
    assert time.monotonic() - began < 5


def test_nothing_of_the_environment_reaches_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the submission, or named by the environment, is not imported."""
    for name in ("yaml.py", "json.py", "sitecustomize.py"):
        given(tmp_path, "raise SystemExit('taken over')", name)
    given(tmp_path, CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    assert take_in(tmp_path).documents


def test_several_can_be_read_at_a_time(tmp_path: Path) -> None:
    """From several threads, each gets its own."""
    found: dict[int, str] = {}

    def one(number: int) -> None:
        path = given(tmp_path, CONFIG.replace("web", f"web-{number}"), f"{number}.yaml")
        found[number] = take_in(path).documents[0].name

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == {number: f"web-{number}" for number in range(8)}


# Anything at all.

PIECES = (
    *(
        "a",
        "apiVersion: v1",
        "kind: Service",
        "metadata:",
        "name: web",
        "spec:",
        "ports:",
        "- ",
        "? ",
    ),
    *(": ", "\n", "\n  ", "\n    ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ", "!!str ", "!x "),
    *(
        "'",
        '"',
        "|\n  ",
        ">-\n ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "# ",
        "\t",
        "\r",
        "\ufeff",
        "\0",
    ),
    *(
        "0777",
        "1e3",
        ".nan",
        "yes",
        "null",
        "~",
        "2001-01-01",
        "-",
        "9" * 30,
        "\\x1b",
        "\u202e",
        "é",
    ),
    *("items:", "kind: List", "apiVersion: apps/v1", "kind: Deployment", "replicas: -1", "x" * 400),
)
#: Every field that a rule looks into.
WHOLE = """\
metadata: {name: web, namespace: n, labels: {a: b}, annotations: {a/b: c}}
type: Opaque
data: {a: b}
addressType: IPv4
endpoints: [{addresses: [192.0.2.1]}]
subsets: [{addresses: [{ip: 192.0.2.1}], notReadyAddresses: [{ip: 192.0.2.1}]}]
spec:
  selector: {a: b}
  type: ClusterIP
  ports: [{port: 80, targetPort: 80, nodePort: 30000}]
  clusterIP: None
  clusterIPs: [None]
  externalIPs: [192.0.2.1]
  externalName: example.com
  loadBalancerSourceRanges: [192.0.2.0/24]
  replicas: 1
  parallelism: 1
  activeDeadlineSeconds: 1
  containers: &containers
    - name: web
      image: nginx
      ports: [{containerPort: 80, hostPort: 80}]
      env: [{name: a, value: b}]
      args: [a]
      securityContext: {capabilities: {add: [A]}, seccompProfile: {type: A}, procMount: A}
      livenessProbe: {httpGet: {host: a}, terminationGracePeriodSeconds: 1}
      lifecycle: {preStop: {tcpSocket: {host: a}}}
  initContainers: *containers
  volumes: [{name: a, projected: {sources: [{configMap: {name: a}}]}}]
  serviceAccountName: a
  affinity:
    nodeAffinity: {a: b}
    podAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{podAffinityTerm: {a: b}}]}
  template: {metadata: {labels: {a: b}}}
"""
PARSED = yaml.safe_load(WHOLE)
VALUES = (None, True, 0, -1, 2**62, 1.5, "", "x", "10.0.0.1", "\u202e", [], {}, [[]], [None], [{}])


def rubbish(chance: random.Random) -> str:
    """A text that may be YAML."""
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 60)))


def misshapen(chance: random.Random) -> dict[str, Any]:
    """A manifest with every field there is, some of them of another shape."""
    manifest = copy.deepcopy(PARSED)
    manifest["spec"]["template"]["spec"] = copy.deepcopy(PARSED["spec"])
    for _ in range(chance.randint(1, 3)):
        here: Any = manifest
        while True:
            key = chance.choice([*here]) if isinstance(here, dict) else chance.randrange(len(here))
            if not here[key] or not isinstance(here[key], dict | list) or chance.random() < 0.2:
                here[key] = chance.choice(VALUES)
                break
            here = here[key]
    return dict(manifest)


def outcome(path: Path) -> str:
    """What becomes of it: "" if it is taken in, else what is said."""
    try:
        take_in(path)
    except Refused as refused:
        return str(refused)
    return ""


def test_any_text_is_taken_or_refused_with_a_sentence(tmp_path: Path) -> None:
    """Whatever is handed in, there is never another error, and never an endless one."""
    chance = random.Random(20261121)
    for number in range(30):
        folder = tmp_path / str(number)
        folder.mkdir()
        for file in range(40):
            given(folder, rubbish(chance), f"{file}.yaml")

        told = outcome(folder)

        assert told.replace("\n", "").isprintable()
        assert 0 < len(told) < 30_000


def test_any_bytes_are_taken_or_refused_with_a_sentence(tmp_path: Path) -> None:
    """A manifest with a few bytes changed is read as it stands or refused."""
    chance = random.Random(20261122)
    told = []
    for _ in range(40):
        data = bytearray(KUBECTL.encode())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        told.append(outcome(given(tmp_path, bytes(data))))

    assert all(each.replace("\n", "").isprintable() for each in told)
    assert "" in told


def test_many_mistakes_take_no_long_time(tmp_path: Path) -> None:
    """As many unknown fields as a submission can have are refused in a few seconds."""
    fields = "".join(f"  selct{number}: 1\n" for number in range(15_000))
    path = given(tmp_path, f"apiVersion: v1\nkind: Service\nmetadata: {{name: a}}\nspec:\n{fields}")
    began = time.process_time()

    with pytest.raises(Refused) as refused:
        take_in(path)

    assert len(refused.value.findings) == 200
    assert time.process_time() - began < 3


def test_any_shape_is_held_against_the_policy() -> None:
    """The rules meet each value with each type where another is expected, and find, not fail."""
    from servicelab.grading.intake.rules import findings_about
    from servicelab.grading.intake.submission import Document, Lines

    chance = random.Random(20261123)
    everything = dataclasses.replace(Policy.default(), kinds=KINDS)
    found = 0
    for _ in range(1000):
        version, kind = chance.choice(sorted(KINDS))
        manifest = {**misshapen(chance), "apiVersion": version, "kind": kind}
        if not isinstance(manifest["metadata"], dict):
            continue
        document = Document(manifest, "web.yaml", Lines(1))
        submission = Submission((document,), ("web.yaml",), (), "", "n", everything)
        findings = findings_about(submission, everything)
        assert all(str(finding).isprintable() for finding in findings)
        found += len(findings)

    assert found > 1000
