"""The actors and training workers that a run asks for, against what the cluster has."""

from __future__ import annotations

from mmgic.checks.problems import Findings
from mmgic.settings import Settings
from mmgic.stages.session import GROWTH_SECONDS, cluster_size, largest_cluster


def check_cluster(settings: Settings, findings: Findings, data: bool, training: bool) -> None:
    """Adds a problem for each pool that can never start; Ray would wait for it in silence.

    What a cluster that grows has not yet, or may have (cluster.wait_for_nodes_s is set), is a note.
    """
    cluster = settings.cluster
    pools: list[tuple[str, float, str, str]] = []
    if data:
        needed = cluster.tokenizer_workers * cluster.tokenizer_gpus
        advice = "lower cluster.tokenizer_workers, or set cluster.tokenizer_gpus=0 for actors without one"
        pools.append((f"{cluster.tokenizer_workers} tokenizer actors", needed, "GPU", advice))
    if training:
        advice = "lower cluster.training_workers (0 trains in this process) or cluster.training_gpus"
        number = cluster.fewest_training_workers or cluster.training_workers
        pools.append((f"{number} training workers", number * cluster.training_gpus, "GPU", advice))
        pools.append((f"{number} training workers", number, "CPU", advice))
    size = cluster_size() if pools else {}
    largest = largest_cluster()
    for who, needed, kind, advice in pools:
        there = size.get(kind, 0)
        if needed > there:
            sentence = f"{who} need {needed:g} {kind}s and the cluster has {there:g}"
            if needed <= (largest or {}).get(kind, 0) or (cluster.wait_for_nodes_s and not largest):
                findings.note(f"{sentence}; it is given {cluster.wait_for_nodes_s or GROWTH_SECONDS:.0f} s to grow")
            else:
                findings.problem(f"{sentence}; {advice}")
