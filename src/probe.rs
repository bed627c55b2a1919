//! One network act each: consumes the former act's value, yields evidence.
