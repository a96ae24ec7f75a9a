"""What each Ray Train run computes."""
