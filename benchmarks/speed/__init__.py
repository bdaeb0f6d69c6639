"""What prompts cost: seconds and bytes of the hooks and the fused path, against the frozen backbone and full tuning;
and what learned texts of CLIP cost on the plain and the fused path."""
