"""Approvals: kept for ever, decided by the operator, deployed one after the other for each agent."""
