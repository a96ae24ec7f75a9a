"""Noun phrases of captions, and the captions that they draw (Appendix G.2, as LLaVA balances its captions).

A phrase is a noun chunk of spaCy, lower-cased, without leading determiners and possessive pronouns; a caption counts it
once. Phrases of fewer than `min_count` captions draw nothing. Any other draws all of its captions or, if there are
more, the `captions_per_phrase` of them with the smallest hash of seed, phrase and caption; the pool is the union. So
the pool follows from the captions alone: counts add up and smallest hashes merge, in any order and grouping.
"""
