//! Judges of the CloudHSM cluster.
