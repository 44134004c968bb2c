"""The comparison: tables, plots and the HTML report."""
