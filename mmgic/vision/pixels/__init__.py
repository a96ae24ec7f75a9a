"""Pixels from visual codes, by latent diffusion."""
