"""The long forms of the fault tests: `make soak`, RAPYER_SOAK_SECONDS each (one second when it is not set)."""
