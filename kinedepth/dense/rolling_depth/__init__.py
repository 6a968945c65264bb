"""RollingDepth: depth of a video from a single-image diffusion model that sees short snippets."""
