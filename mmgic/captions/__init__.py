"""Caption synthesis (Appendix F.4): BLIP-2 proposes, CLIP ranks, rules choose."""

from mmgic.captions.images import Pixels, ReadImage
from mmgic.captions.synthesis import SynthesizeCaptions

__all__ = ["Pixels", "ReadImage", "SynthesizeCaptions"]
