"""Rank 0 as a state machine: events in, actions out. No clock, no MPI, no files, no randomness."""

from mpiens.driver.machine import Driver, DriverConfig

__all__ = ["Driver", "DriverConfig"]
