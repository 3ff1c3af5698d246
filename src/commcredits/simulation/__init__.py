"""Simulation: what a recharge policy would do to a balance, before a customer's card finds out."""

from __future__ import annotations

from commcredits.simulation.demand import Demand, fit_demand
from commcredits.simulation.replays import ReplayedLedger, replay_many
from commcredits.simulation.suggestion import PolicyFigures, Suggestion, suggest_policy
from commcredits.simulation.trajectories import Trajectories, simulate_many
from commcredits.simulation.trajectory import Trajectory, simulate

__all__ = [
    "Demand",
    "PolicyFigures",
    "ReplayedLedger",
    "Suggestion",
    "Trajectories",
    "Trajectory",
    "fit_demand",
    "replay_many",
    "simulate",
    "simulate_many",
    "suggest_policy",
]
