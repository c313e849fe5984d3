"""The machinery of all experiments; none of these modules knows a single experiment.

:mod:`~thalweg.experiments.framework.discovery` (which experiments exist, without importing any),
:mod:`~thalweg.experiments.framework.config` (what all configurations share),
:mod:`~thalweg.experiments.framework.options` (presets, TOML and overrides),
:mod:`~thalweg.experiments.framework.findings` (what an experiment returns) and
:mod:`~thalweg.experiments.framework.execution` (an experiment in its run folder).
"""
