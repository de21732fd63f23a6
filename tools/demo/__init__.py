"""The demo: regctl's main job on a real registry, on a machine where nothing is set up."""
