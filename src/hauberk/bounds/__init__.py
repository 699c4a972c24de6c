"""Certified bounds: what no input that a threat allows can do to the answer of a network."""

from hauberk.bounds.certify import Certificate, certify
from hauberk.bounds.crown import Crown
from hauberk.bounds.interval import Interval
from hauberk.bounds.margin_bound import MarginBound
from hauberk.bounds.network import Network

__all__ = ["Certificate", "Crown", "Interval", "MarginBound", "Network", "certify"]
