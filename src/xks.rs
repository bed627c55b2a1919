//! The XKS Proxy API v1: requests, answers, errors, signing.
