"""What a claim's test left to look at: saved before the cluster is cleaned up."""
