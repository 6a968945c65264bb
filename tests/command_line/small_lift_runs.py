"""The size of the clip and of the network with which ``kinedepth lift`` is tested."""

from kinedepth.seurat.config import SeuratConfig

WIDTH, HEIGHT, FRAMES = 96, 72, 10
TINY = SeuratConfig(name="tiny", width=24, heads=2, layers=1, iterations=1, support_grid=4)
