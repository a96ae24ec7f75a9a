"""Caption synthesis (Appendix F.4): BLIP-2 proposes, CLIP ranks, rules choose."""
