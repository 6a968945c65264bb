"""2D tracks to log depth ratios, after "Seurat: From Moving Points to Depth" (CVPR 2025)."""
