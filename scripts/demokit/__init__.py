"""The demo's scenes: real traffic through the lab, and what is expected of it."""
