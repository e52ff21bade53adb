"""An audit of evidence that is there already; no model is run."""

from __future__ import annotations

import platform
from typing import Any

from gradsift.data import Samples, fingerprint_samples
from gradsift.evidence import Evidence, refuse_other_data, stored_evidence
from gradsift.jobs.complete import Chosen, checked_groups, published, scored
from gradsift.jobs.request import Clock, Request
from gradsift.result import Audit
from gradsift.settled import about, of_shards
from gradsift.stages import Expected, choose_detectors, collect_arrays, open_run
from gradsift.table.audited_run import OF_PREDICTIONS


def audit_evidence(evidence: Evidence, data: Any, request: Request) -> Audit:
    """Audits evidence that is there already; no model is run.

    Args:
        evidence: What is known of the samples.
        data: The data set that it is of, for trimming and previews; ``None`` where it is not at hand.
        request: What is asked for.

    Returns:
        The audit.

    Raises:
        DataError: The data set has another number of samples.
    """
    clock, samples = Clock(), None
    with clock.stage("prepare"):
        if data is not None:
            samples = Samples(data)
            evidence.refuse_other_size(len(samples))
            refuse_other_data(samples, evidence.labels, evidence.class_names, evidence.data_fingerprint)
        checked_groups(request.groups, len(evidence))
        evidence = evidence if request.class_names is None else evidence.with_(class_names=list(request.class_names))
        detectors, ranking = choose_detectors(request.settings, _expected(evidence))
        fingerprint, covered = _fingerprint(evidence, samples)
        identity = {
            "data": fingerprint,
            "evidence": evidence.digest(),
            "task": OF_PREDICTIONS,
            "trajectory": None if evidence.trajectory is None else evidence.trajectory.fingerprint(),
            "settings": of_shards(request.settings),
        }
    last_layer = evidence.features is not None
    details = {
        **about(identity, covered),
        "model_fingerprint": None,
        "of_heads": evidence.of_heads,
        "coverage": "last layer, from predictions and features" if last_layer else "none, predictions alone",
    }
    with open_run(request.output, identity, request.config(1), overwrite=request.overwrite) as opened:
        with clock.stage("gradients"):
            opened.run.record_shards(collect_arrays(opened.run, evidence, shard_size=request.settings.shard_size))
        on_disk = stored_evidence(opened.run, evidence.kind, provenance=evidence.comes_from("predictions")).with_(
            trajectory=evidence.trajectory, class_names=evidence.class_names
        )
        result = scored(opened, on_disk, Chosen(detectors, ranking, samples, details), data, request, clock)
        result = published(opened, result, clock, device=platform.machine() + " CPU")
    opened.remove_with(result)
    return result


def _expected(evidence: Evidence) -> Expected:
    """What detectors will be able to read: with features, the gradients of the last layer too."""
    fields = evidence.known | (set() if evidence.features is None else {"gradients"})
    return Expected(frozenset(fields), evidence.kind or "class", last_layer=True, trajectory=evidence.trajectory)


def _fingerprint(evidence: Evidence, samples: Samples | None) -> tuple[str | None, str]:
    """Fingerprint of the data set, and what it covers."""
    if samples is not None:
        return fingerprint_samples(samples)
    covered = "the data set that was cross-fitted" if evidence.data_fingerprint else "no data set"
    return evidence.data_fingerprint, covered
