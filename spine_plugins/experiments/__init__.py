"""Figures and tables of the paper, made from files that the commands leave behind."""
