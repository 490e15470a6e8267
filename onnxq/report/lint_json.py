"""Findings of lint for programs: JSON of our own, and SARIF 2.1.0 for services that read that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from onnxq.conformance.finding import RULES, Severity
from onnxq.report.json_text import json_text

if TYPE_CHECKING:
    from onnxq.conformance.finding import Finding
    from onnxq.report.lint_result import Linted

__all__ = ["SCHEMA", "finding_object", "lint_json", "lint_sarif"]

SCHEMA = 1
_SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def lint_json(linted: Linted) -> str:
    """Returns the findings as JSON text; keys are only ever added within one ``schema`` number."""
    report = {
        "schema": SCHEMA,
        "model": linted.name,
        "target": {"name": linted.target, "summary": linted.summary, "stands": linted.stands},
        "counts": {severity.word: linted.count(severity) for severity in Severity},
        "findings": [finding_object(found) for found in linted.findings],
    }
    return json_text(report)


def finding_object(found: Finding) -> dict[str, str]:
    """Returns a finding in plain types."""
    return {
        "rule": found.rule,
        "severity": found.severity.word,
        "node": found.node,
        "op": found.op,
        "text": found.text,
        "mend": found.mend,
    }


def lint_sarif(linted: Linted, path: str, version: str) -> str:
    """Returns the findings as a SARIF log (OASIS, SARIF 2.1.0, sections 3.13 to 3.33).

    Args:
        linted: What was found.
        path: The model's file, as it was given.
        version: Of onnxq.
    """
    used = sorted({found.rule for found in linted.findings})
    rules = [{"id": rule, "shortDescription": {"text": RULES[rule]}} for rule in used]
    driver = {"name": "onnxq", "version": version, "rules": rules}
    results = [_result(found, used.index(found.rule), path) for found in linted.findings]
    run = {"tool": {"driver": driver}, "results": results}
    return json_text({"$schema": _SARIF_SCHEMA, "version": "2.1.0", "runs": [run]})


def _result(found: Finding, index: int, path: str) -> dict[str, Any]:
    kind = "value" if not found.op else "node"
    return {
        "ruleId": found.rule,
        "ruleIndex": index,
        "level": found.severity.word,
        "message": {"text": f"{found.node}: {found.text}; {found.mend}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": path.replace("\\", "/")}},
                "logicalLocations": [{"fullyQualifiedName": found.node, "kind": kind}],
            }
        ],
    }
