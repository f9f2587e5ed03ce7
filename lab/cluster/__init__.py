"""A real Kubernetes node on this machine, in namespaces of its own: what the cluster tests run against."""
