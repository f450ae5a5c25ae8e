"""What a user of the library sees on a cluster, whatever its nodes do."""
