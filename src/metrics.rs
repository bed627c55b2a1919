//! Every metric name, help text and label.
