"""`prodkit check`: what of a project is not ready for production, read without running it."""

from prodkit.scaffold.readiness.check import check
from prodkit.scaffold.readiness.finding import RULES, Finding, Report, Unread

__all__ = ["RULES", "Finding", "Report", "Unread", "check"]
