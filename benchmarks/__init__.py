"""Benchmarks: what README's table says, measured side by side where a ratio is meant."""
