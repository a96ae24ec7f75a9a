"""Images by url: fetched politely, checked, and stored in tar shards as img2dataset lays them out."""

from mmgic.download.rows import DownloadImages

__all__ = ["DownloadImages"]
