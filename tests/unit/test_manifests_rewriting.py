"""A manifest's images are moved to a private registry, and nothing else in it changes."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from servicelab.errors import UsageError
from servicelab.manifests import images_of, rewrite

SUM = "sha256:" + "ab" * 32

EVERYWHERE = f"""\
# the first line
apiVersion: apps/v1   # kept
kind: Deployment
metadata:   {{name: web}}
spec:
    template:
        spec:
            initContainers:
            - {{name: first, image: "busybox:1.37"}}
            containers:
            - image: nginx
              name: web
              # between
            - name: side
              image: 'quay.io/a/side@{SUM}'   # behind
            volumes:
            - name: data
              image:
                reference: ghcr.io/a/data:1
---

---
apiVersion: batch/v1
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
          - image: >-
              quay.io/a/folded:1

            # its end
            name: job
---
{{"apiVersion": "v1", "kind": "List", "items": [
  {{"apiVersion": "v1", "kind": "Pod", "spec": {{
    "containers": [{{"name": "a", "image": "registry.k8s.io/p\\u0061use:3"}}],
    "ephemeralContainers": [{{"name": "b", "image": "debug"}}]
  }}}}
]}}
...
"""


def pod(image: str) -> str:
    """A Pod whose only container has this image, written so."""
    return f"apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: a\n    image: {image}\n"


def moved(text: str) -> str:
    """The text with its images at the registry h:5."""
    return rewrite(text, "h:5", where="web.yaml").text


def test_every_image_of_every_pod_template_is_moved() -> None:
    """Containers of each kind and image volumes; in bare Pods, templates, CronJobs and Lists."""

    assert moved(EVERYWHERE) == (
        EVERYWHERE.replace("busybox:1.37", "h:5/library/busybox:1.37")
        .replace("image: nginx", "image: h:5/library/nginx")
        .replace("quay.io", "h:5")
        .replace("ghcr.io", "h:5")
        .replace("registry.k8s.io/p\\u0061use", "h:5/pause")
        .replace('"debug"', '"h:5/library/debug"')
    )


@pytest.mark.parametrize(
    ("before", "after"), [("\n", "\r\n"), ("# the first", "\ufeff# the first")]
)
def test_line_ends_and_byte_order_mark_stay(before: str, after: str) -> None:
    """What an editor on another system wrote is left as it is."""

    assert moved(EVERYWHERE.replace(before, after)) == moved(EVERYWHERE).replace(before, after)


def test_a_second_time_nothing_changes() -> None:
    """What is at the registry already stays."""
    once = moved(EVERYWHERE)

    again = rewrite(once, "h:5", where="web.yaml")

    assert again.text == once
    assert again.moved == {}
    assert again.report() == ["no image had to be moved"]


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("&nginx nginx", "&nginx h:5/library/nginx"),
        ("!!str nginx", "!!str h:5/library/nginx"),
        ("!!str &nginx 'nginx'", "!!str &nginx 'h:5/library/nginx'"),
        ('"ng\\x69nx"', '"h:5/library/nginx"'),
        ('&a "ng\\x69nx"', '&a "h:5/library/nginx"'),
        ('"ngi\\\n     nx"', '"h:5/library/nginx"'),
        ("|-\n      nginx", "|-\n      h:5/library/nginx"),
        ("\n     nginx", "\n     h:5/library/nginx"),
        ("nginx   # nginx", "h:5/library/nginx   # nginx"),
        ("", ""),
        ('""', '""'),
        ("null", "null"),
        ("~", "~"),
    ],
)
def test_however_it_is_written(written: str, result: str) -> None:
    """Anchors, tags, quotes and comments stay; no image stays no image."""
    assert moved(pod(written)) == pod(result)


def test_what_an_alias_repeats_is_moved_where_it_stands() -> None:
    """An image's alias follows the image; that of another text gets the image written out."""
    text = dedent("""\
        apiVersion: v1
        kind: Pod
        metadata: {annotations: {about: &told quay.io/a/told}}
        spec:
          containers:
          - {name: a, image: &first quay.io/a/first}
          - {name: b, image: *first}
          - {name: c, image: *told}
          - &base {name: d, image: quay.io/a/base}
          - {<<: *base, name: e}
          - {<<: [{tty: true}, *base], name: f, image: quay.io/a/own}
        """)

    assert moved(text) == (
        text.replace("quay.io/a/first", "h:5/a/first")
        .replace("*told", "h:5/a/told")
        .replace("quay.io/a/base", "h:5/a/base")
        .replace("quay.io/a/own", "h:5/a/own")
    )


def test_what_only_looks_like_a_pod_stays() -> None:
    """Schemas, status and text in a ConfigMap run nothing."""
    text = dedent("""\
        apiVersion: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        spec: {containers: [{image: quay.io/a/b}]}
        ---
        apiVersion: v1
        kind: ConfigMap
        data:
          pod.yaml: |
            spec: {containers: [{image: quay.io/a/b}]}
        ---
        apiVersion: v1
        kind: Pod
        status: {containers: [{image: quay.io/a/b}]}
        """)

    assert moved(text) == text


def test_images_that_are_only_mentioned_are_warned_of() -> None:
    """In arguments and environment, and in fields of other kinds: each with its line."""
    text = dedent("""\
        apiVersion: example.org/v1
        kind: Prometheus
        spec:
          image: quay.io/prometheus/prometheus:v3
          containers:
          - name: operator
            image: quay.io/a/operator:1
            command: [run, --sidecar-image, busybox]
            args:
            - --reloader=quay.io/a/reloader:1
            - --image-pull-policy=Always
            - --listen=0.0.0.0:8080
            - --url=https://example.org/a:1
            - --with-image=true
            - h:5/a/there:1
            env:
            - {name: RELATED, value: "quay.io/a/related:1"}
            - {name: RELOADER_IMAGE, value: nginx}
            - {name: LEVEL, value: info}
            - {name: HOST, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
        """)

    rewriting = rewrite(text, "h:5", where="web.yaml")

    assert rewriting.text == text.replace("quay.io/a/operator", "h:5/a/operator")
    told = [warning.partition(" is only")[0] for warning in rewriting.warnings]
    assert told == [
        "web.yaml line 4: quay.io/prometheus/prometheus:v3",
        "web.yaml line 8: busybox",
        "web.yaml line 10: quay.io/a/reloader:1",
        "web.yaml line 17: quay.io/a/related:1",
        "web.yaml line 18: nginx",
    ]
    assert rewriting.report()[0] == "quay.io/a/operator:1 -> h:5/a/operator:1"


def test_the_images_of_a_manifest_are_listed_with_their_lines() -> None:
    """In the order of the text, each place once."""
    found = images_of(EVERYWHERE, "web.yaml")

    assert [(str(each.reference), each.line) for each in found] == [
        ("docker.io/library/busybox:1.37", 9),
        ("docker.io/library/nginx", 11),
        (f"quay.io/a/side@{SUM}", 15),
        ("ghcr.io/a/data:1", 19),
        ("quay.io/a/folded:1", 31),
        ("registry.k8s.io/pause:3", 39),
        ("docker.io/library/debug", 40),
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "web.yaml holds no Kubernetes object"),
        ("---\n# nothing\n---\n", "web.yaml holds no Kubernetes object"),
        ("a: b", "web.yaml line 1: this is no Kubernetes object, it has no apiVersion"),
        ("apiVersion: v1", "web.yaml line 1: this is no Kubernetes object, it has no kind"),
        (f"{pod('a')}---\n- x", "web.yaml line 8: this is no Kubernetes object"),
        ("just text", "web.yaml line 1: this is no Kubernetes object"),
        (pod("[a]"), "web.yaml line 6: the image is no text"),
        (pod("{{ .Values.image }}"), "web.yaml line 6: the image is no text"),
        (pod("1.5"), "web.yaml line 6: the image 1.5 is no text for YAML; put it in quotes"),
        (pod("true"), "web.yaml line 6: the image true is no text for YAML"),
        (pod("Nginx"), "web.yaml line 6: the image 'Nginx' can't be read: names are in lower"),
        (pod("|\n      nginx"), "web.yaml line 6: the image 'nginx\\n' can't be read"),
        (pod("'${IMAGE}'"), "web.yaml line 6: the image '${IMAGE}' can't be read"),
        ("a:\n\t- b", "web.yaml line 2 is not YAML"),
        ("a: 'b\n", "web.yaml line 2 is not YAML"),
        ("a: *b", "web.yaml line 1 is not YAML: there is no anchor &b"),
        ("a: b\nc: \x07", "web.yaml line 2 is not YAML: it has a control character"),
        ("a: " + "[" * 5000, "web.yaml line 1 is nested more than 500 deep"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_line(text: str, sentence: str) -> None:
    """One sentence: the file, the line, what is wrong."""
    with pytest.raises(UsageError) as refused:
        moved(text)

    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_two_images_never_become_one() -> None:
    """Which of them the Pods would get then is anybody's guess."""
    text = pod("quay.io/a/b:1") + "  - {name: b, image: 'a/b:1'}\n"

    with pytest.raises(UsageError, match=r"line 7: a/b:1 and quay.io/a/b:1 \(line 6\) would both"):
        moved(text)


def test_a_document_that_grows_without_end_when_unfolded_is_read_as_it_stands() -> None:
    """Aliases of aliases, and lists that hold themselves, are gone through once."""
    lines = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    text = "\n".join([pod("nginx") + "a0: &a0 [x]", *lines, "b: &b [*b]", "c: &c {<<: *c}", ""])

    assert moved(text) == text.replace("nginx", "h:5/library/nginx")


def test_merge_keys_are_unfolded_once() -> None:
    """A container that merges the one before it, thousands of times, takes no longer than it is."""
    chain = "".join(f"  - &c{n}\n    <<: *c{n - 1}\n    name: c{n}\n" for n in range(1, 3000))
    text = pod("nginx").replace("- name: a", "- &c0\n    name: a") + chain

    assert moved(text) == text.replace("nginx", "h:5/library/nginx")


def test_merge_keys_that_grow_with_every_line_are_refused() -> None:
    """Each line adds a key to all that are merged so far."""
    chain = [f"a{n}: &a{n} {{<<: *a{n - 1}, k{n}: v}}" for n in range(1, 2000)]

    with pytest.raises(UsageError, match=r"its merge keys \(<<\) unfold to more than"):
        moved("\n".join([pod("nginx") + "a0: &a0 {k0: v}", *chain]))


def test_the_labs_own_manifests_can_be_rewritten() -> None:
    """Every manifest that stands beside a lab is read, and what changes are its images."""
    for file in sorted(Path(__file__).parents[2].glob("labs/*/*.yaml")):
        text = file.read_text(encoding="utf-8")
        before = images_of(text, file.name)
        after = images_of(moved(text), file.name)

        assert [each.line for each in after] == [each.line for each in before], file
        assert all(each.reference.is_at("h:5") for each in after), file
