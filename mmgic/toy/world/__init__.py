"""Scenes, their pictures, and everything true that can be said about them."""
