"""Recipes beside each other: what each costs in quality, bytes and time. One artifact on one text: the program edgecc-eval."""
