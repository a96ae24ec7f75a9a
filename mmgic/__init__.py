"""MMGIC: multi-grained concept annotations for multimodal large language models, from annotation files to scores.

Data flows one way through the packages: `sources` read annotation files, `cleaning` and `regions` hold them to the
paper's rules, `captions` and `descriptions` add what models write, `documents` fills the templates, `vision` turns
images into visual tokens, `training` trains the language model of `model` on them, `evaluation` scores it.
`pipelines` puts the stages of each corpus in their order; `stages` says how a stage runs. Importing starts nothing.
"""
