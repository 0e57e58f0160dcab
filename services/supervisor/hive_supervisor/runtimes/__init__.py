"""Back-ends that run containers, behind one protocol."""
