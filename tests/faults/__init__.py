"""What happens when the network, the server or a process fails."""
