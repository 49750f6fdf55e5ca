"""The systems of the papers: what is learned from a batch, and what a window is scored by."""
