"""The mathematics of it: from prompts on a few slices to logits for every voxel."""
