//! Text as every stage sees it: normalised, masked, measured, compared.
//!
//! A leaf, and pure. The pipeline calls [`normalise`] and [`mask`] once a mention; what they give is
//! what rules read, what the index holds and what is shown outside a case.

mod fold;
mod length;
mod mask;
mod normalise;
mod signature;
mod veil;

pub use fold::{Folded, fold_obfuscation};
pub use length::{LengthRule, Unit, url_at};
pub use mask::mask;
pub use normalise::{normalise, strip_invisible};
pub use signature::{alike, signature};
pub use veil::{Masked, PostText, Veil};

/// Bytes as hexadecimal digits, two each.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
