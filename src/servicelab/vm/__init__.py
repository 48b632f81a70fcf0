"""A guest with its own kernel (User-Mode Linux), for what this machine's kernel lacks: IPVS."""
