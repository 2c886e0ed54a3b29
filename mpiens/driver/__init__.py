"""Rank 0 as a state machine: events in, actions out. No clock, no MPI, no files, no randomness."""

from mpiens.driver.config import DriverConfig
from mpiens.driver.machine import Driver
from mpiens.driver.start import Pending, Start

__all__ = ["Driver", "DriverConfig", "Pending", "Start"]
