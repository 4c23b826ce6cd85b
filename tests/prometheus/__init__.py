"""What Prometheus and its tools say of our metrics, rules and dashboards."""
