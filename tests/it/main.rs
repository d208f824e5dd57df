//! The one test binary.

mod catalogue;
mod layers;
mod tidy;
