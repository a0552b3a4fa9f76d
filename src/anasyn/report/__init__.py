"""Figures and HTML reports of runs. Only this package imports matplotlib."""
