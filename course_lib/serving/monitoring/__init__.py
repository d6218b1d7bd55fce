"""Watching a service: drift with calibrated thresholds, alert rules, a dashboard, and a drill with a broken release.

`alerts.yml` holds the rules for Prometheus, `alerts_test.yml` their unit tests for promtool, `dashboard.json` the dashboard
for Grafana.
"""
