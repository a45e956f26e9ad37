//! Pages: what of one that a model hands in may be published, the frame around it, and what a page says.
//!
//! It must not know models, stores or runs. A page is hostile until it was cleaned: what is in it may come from a
//! database that anybody writes to. It is read as a browser reads it; what is not known to be harmless is refused, so
//! that the model can mend it; what is left is written anew, and checked again in the page that is published.

mod clean;
mod elements;
mod escape;
mod frame;
mod judge;
mod paint;
mod reading;
mod refusal;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod words;
mod write;

pub use clean::{Clean, Rules, clean};
pub use escape::{escape, is_hidden};
pub use frame::{Escaped, Frame, framed};
pub use refusal::Refusal;
pub use text::text;
