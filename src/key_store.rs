//! The custom key store as AWS describes it: newtypes that cannot be wrong.
