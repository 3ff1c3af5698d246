"""Simulation: what a recharge policy would do to a balance, before a customer's card finds out."""

from __future__ import annotations

from commcredits.simulation.demand import Demand, fit_demand
from commcredits.simulation.trajectories import Trajectories, simulate_many
from commcredits.simulation.trajectory import Trajectory, simulate

__all__ = ["Demand", "Trajectories", "Trajectory", "fit_demand", "simulate", "simulate_many"]
