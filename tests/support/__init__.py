"""Real servers and real images for tests, benchmarks and the demo. Nothing here imports pytest."""
