"""Structure and camera motion from tracks: what geometry alone says about depth."""
