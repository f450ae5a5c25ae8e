"""Models: decoration, paths, instances. No server unless said."""
