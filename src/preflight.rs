//! What to probe for a candidate; gathers one report.
