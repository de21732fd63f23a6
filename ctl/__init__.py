"""regctl: the operator's control plane for container registries."""
