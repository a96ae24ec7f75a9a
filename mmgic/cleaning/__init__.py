"""Clean labels, objects and images (F.2), with the splits and label senses that they need."""
