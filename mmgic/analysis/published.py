"""The numbers that the paper prints about its data, as it rounds them: what a run's own stand beside."""

from __future__ import annotations

# Section 2.3
UNIQUE_IMAGES, UNIQUE_REGIONS, LABEL_DESCRIPTION_PAIRS = "3.5M", "23.9M", "61.8M"

# Appendix G.1 and G.2: image-caption pairs
GENERAL_COLLECTED, AESTHETIC_COLLECTED, GENERAL_SELECTED, IC_IMAGES = "229M", "12M", "40M", "52M"

# Table 13, by the sources of the paper's presets: regions, images, concepts; visual tokens, text tokens, used regions,
# samples
DETECTION = {
    "open_images": ("7.16M", "1.44M", "642", "0.70B", "0.47B", "6.21M", "1.44M"),
    "objects365": ("15.71M", "1.78M", "600", "1.31B", "0.97B", "12.58M", "1.78M"),
    "v3det": ("1.18M", "0.18M", "12,976", "0.26B", "0.21B", "2.30M", "0.53M"),
    "visual_genome": ("1.50M", "0.10M", "20,830", "0.28B", "0.28B", "2.77M", "0.31M"),
    "MMGIC": ("25.55M", "3.48M", "35,048", "2.54B", "1.92B", "23.86M", "4.06M"),
}

# Table 14, by task or, of what is played back, by template
INSTRUCTIONS = {
    "image_conversation": "0.37M",
    "open_vqa": "0.24M",
    "multiple_choice": "0.07M",
    "detailed_caption": "0.11M",
    "image_caption": "0.52M",
    "image_editing": "0.32M",
    "text_to_image": "0.50M",
    "text_only": "0.09M",
    "image_first": "0.50M",
    "text_first": "0.50M",
}

# Table 15, by type: visual tokens, text tokens, samples
INSTRUCTION_TOKENS = {
    "Multimodal understanding": ("115M", "355.0M", "1.31M"),
    "Multimodal generation": ("104M", "90.7M", "0.82M"),
    "Text-only": ("0M", "14.1M", "0.09M"),
    "MMGIC playback": ("602M", "579.0M", "1.00M"),
    "Total": ("821M", "1038.8M", "3.21M"),
}

# Table 13, Appendix G, Table 15 and C.6, by corpus: visual tokens, text tokens, samples
CORPORA = {
    "mmgic": ("2.54B", "1.92B", "4.06M"),
    "ic": ("3.19B", "5.14B", "52M"),
    "mmc4": ("", "", "5.5M"),
    "sft": ("821M", "1038.8M", "3.21M"),
}

# Appendix F: labels with a frequency below 5
RARE_LABELS = {"objects": "5%", "attributes": "1.5%", "relationships": "0.3%"}
