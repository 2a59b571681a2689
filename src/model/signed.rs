//! What the body hashes in a message's DKIM and ARC signatures say of one copy.
//!
//! A hash that agrees proves bytes; one that does not proves nothing by itself: one in five whole messages that were
//! signed went through a list or a gateway that rewrote its body (FIELD.md section 4).

use super::evidence::Outcome;
use super::span::Span;
use serde::{Deserialize, Serialize};

/// The word of all signatures of one copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// Whose signature it is (`d=`), as a stranger wrote it: of the one that agrees, else of the first.
    pub domain: Option<String>,
    pub agrees: Agrees,
    /// Short digest of the exact bytes of the header, up to the body: copies with one header are copies of one
    /// message as its sender signed it. `None` where bytes of the header are missing.
    pub header: Option<[u8; 16]>,
    /// The first byte of the body.
    pub body: u64,
}

/// How far the body is what was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Agrees {
    /// All of it, to its end.
    Whole,
    /// Up to this byte: the signature covers no more (`l=`). Even where that is the end of the file, the message may
    /// once have gone on: lists write behind it.
    UpTo(u64),
    /// No signature fits what is there.
    No,
    /// Bytes are missing, so that nothing can be compared.
    Unread,
}

impl Signed {
    /// The outcome of the check. It never fails: see above.
    pub fn outcome(&self) -> Outcome {
        if self.agrees == Agrees::Whole { Outcome::Pass } else { Outcome::Unknown }
    }

    /// What it is called to people. Anybody can write any `d=`: no key was asked.
    pub fn words(&self) -> String {
        format!("the DKIM body hash (d={}, key not checked)", self.domain.as_deref().unwrap_or("unknown"))
    }

    /// The bytes that are proven; of a body that is proven to its end, also all that might follow.
    pub fn proven(&self) -> Option<Span> {
        let span = |end: u64| Span::new(self.body, end.saturating_sub(self.body));
        match self.agrees {
            Agrees::Whole => Some(span(u64::MAX)),
            Agrees::UpTo(end) => Some(span(end)).filter(|span| span.length > 0),
            Agrees::No | Agrees::Unread => None,
        }
    }

    /// Whether the same signatures stand over both, and prove this body but not the other one: then the other is not
    /// what the sender signed, whatever else speaks for it.
    pub fn refutes(&self, other: &Signed) -> bool {
        let same = self.header.is_some() && self.header == other.header;
        same && self.agrees == Agrees::Whole && other.agrees != Agrees::Whole
    }
}
