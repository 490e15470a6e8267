"""The clusters of one value as a JSON object, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from onnxq.plan.clusters import Cluster, ClusterSplit
from onnxq.plan.plan_json import read_value, value_object

if TYPE_CHECKING:
    from onnxq.plan.plan_entry import Entry

__all__ = ["read_split", "split_object"]


def split_object(split: ClusterSplit) -> dict[str, Any]:
    """Returns what stands in a plan file for one value's clusters."""
    parts = [
        {
            "channels": part.channels.tolist(),
            "value": value_object(part.value),
            "weights": {node: value_object(plan) for node, plan in part.weights.items()},
        }
        for part in split.parts
    ]
    return {"parts": parts, "sums": {node: value_object(p) for node, p in split.sums.items()}}


def read_split(entry: Entry) -> ClusterSplit:
    """Returns what :func:`split_object` described; raises PlanError on anything malformed."""
    members = entry.members(("parts",), ("sums",))
    parts = tuple(_read_part(part) for part in members["parts"].elements())
    if not parts:
        members["parts"].fail("must hold at least one cluster; remove the value from 'clusters'")
    sums = members["sums"].items() if "sums" in members else ()
    return ClusterSplit(parts, {node: read_value(plan) for node, plan in sums})


def _read_part(entry: Entry) -> Cluster:
    members = entry.members(("channels", "value", "weights"))
    channels = [one.integer(least=0) for one in members["channels"].elements()]
    if not channels or sorted(set(channels)) != channels:
        members["channels"].fail("must list numbers of channels, ascending, each once")
    weights = {node: read_value(plan) for node, plan in members["weights"].items()}
    return Cluster(np.array(channels, np.int64), read_value(members["value"]), weights)
