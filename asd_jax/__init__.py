"""Anomalous machine sound detection in JAX: from recordings to anomaly scores."""
