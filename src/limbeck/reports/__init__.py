"""Run records, tables, figures and pages."""
