"""Images out: a language model writes visual codes, a pixel decoder draws them."""
