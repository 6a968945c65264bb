"""Ways to look at lifted tracks: over their video, in a 3D page, in the Rerun viewer."""

from kinedepth.viewing.opening import view_run
from kinedepth.viewing.overlay import write_overlay
from kinedepth.viewing.rerun_log import write_rerun
from kinedepth.viewing.scene_page import write_scene_page

__all__ = ["view_run", "write_overlay", "write_rerun", "write_scene_page"]
