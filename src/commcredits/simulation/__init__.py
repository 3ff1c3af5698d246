"""Simulation: what a recharge policy would do to a balance, before a customer's card finds out."""

from __future__ import annotations

from commcredits.simulation.trajectory import Trajectory, simulate

__all__ = ["Trajectory", "simulate"]
