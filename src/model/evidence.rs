//! What each check said of one copy, and the verdict that follows from it.

use super::limits::FAULTS_KEPT;
use super::signed::Signed;
use super::span::Span;
use serde::{Deserialize, Serialize};

/// One check, in the order in which they are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// The medium gave every byte.
    Read,
    /// The content equals the catalog's digest.
    Digest,
    /// The size equals what the store itself recorded (Maildir `S=`, `W=`).
    NativeSize,
    /// Checksums inside compressed files, the server's own content hashes.
    NativeHash,
    /// The header block is one.
    Header,
    /// MIME boundaries open and close, parts are there.
    Mime,
    /// base64 and quoted-printable decode.
    Encoding,
    /// A DKIM or ARC signature proves the body, all of it. Never fails: [`Signed`].
    DkimBody,
    /// No bytes that mail does not contain.
    Pattern,
}

impl Check {
    pub const ALL: [Check; 9] = [
        Check::Read,
        Check::Digest,
        Check::NativeSize,
        Check::NativeHash,
        Check::Header,
        Check::Mime,
        Check::Encoding,
        Check::DkimBody,
        Check::Pattern,
    ];

    /// The name in machine output.
    pub fn name(self) -> &'static str {
        match self {
            Check::Read => "read",
            Check::Digest => "digest",
            Check::NativeSize => "native_size",
            Check::NativeHash => "native_hash",
            Check::Header => "header",
            Check::Mime => "mime",
            Check::Encoding => "encoding",
            Check::DkimBody => "dkim_body",
            Check::Pattern => "pattern",
        }
    }
}

/// What one check said. `Absent`: the message carries no such witness, which never counts against it.
/// `Unknown`: the check could not finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Fail,
    #[default]
    Absent,
    Unknown,
}

impl Outcome {
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Fail => "fail",
            Outcome::Absent => "absent",
            Outcome::Unknown => "unknown",
        }
    }
}

/// What exactly is wrong in a range of bytes. The first group proves damage, the second only raises suspicion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The medium returned an error for this range.
    ReadError,
    /// The medium did not answer within the time-out.
    ReadTimeout,
    /// The content is not what the catalog recorded.
    DigestMismatch,
    /// Fewer bytes than the store recorded.
    TooShort,
    /// More bytes than the store recorded.
    TooLong,
    /// The compressed form is broken here (checksum, framing or end).
    BrokenCompression,
    /// What the store writes around the message is not as it writes it.
    BrokenFrame,
    /// An attachment that the store keeps apart is gone, or is not what its name promises.
    Attachment,
    /// No bytes at all.
    Empty,
    /// The file does not begin with a header block.
    NotAHeader,
    /// A run of NUL bytes.
    NulRun,
    /// A run of 0xFF bytes.
    FfRun,
    /// A region of bytes that text mail does not contain.
    BinaryRegion,

    /// One or a few NUL bytes.
    NulByte,
    /// A multipart whose closing boundary never comes.
    UnclosedMultipart,
    /// A declared multipart none of whose boundaries appear.
    NoParts,
    /// base64 that breaks off or holds foreign bytes.
    BrokenBase64,
    /// Broken quoted-printable.
    BrokenQuotedPrintable,
    /// The header block never ends.
    HeaderUnended,
    /// Lines within the header block that are none of a header.
    BrokenHeader,
    /// A header block that names neither sender nor date.
    BareHeader,
    /// The start of another message within a line, at a sector's edge.
    ForeignSector,
    /// The message ends within a line, at a block's edge.
    CutAtBlock,
    /// `W=` disagrees while `S=` agrees or is absent.
    VirtualSizeMismatch,
}

impl FaultKind {
    /// Whether this alone shows that bytes were lost or changed, with no outside witness
    /// (FIELD.md section 4: what occurs in mail that nothing happened to proves nothing).
    pub fn proves_damage(self) -> bool {
        use FaultKind::*;
        match self {
            ReadError | ReadTimeout | DigestMismatch | TooShort | BrokenCompression | BrokenFrame | Attachment
            | Empty | NotAHeader | NulRun | FfRun | BinaryRegion => true,
            TooLong
            | NulByte
            | UnclosedMultipart
            | NoParts
            | BrokenBase64
            | BrokenQuotedPrintable
            | HeaderUnended
            | BrokenHeader
            | BareHeader
            | ForeignSector
            | CutAtBlock
            | VirtualSizeMismatch => false,
        }
    }

    /// Words for an administrator.
    pub fn words(self) -> &'static str {
        use FaultKind::*;
        match self {
            ReadError => "the disk returned a read error",
            ReadTimeout => "the disk did not answer in time",
            DigestMismatch => "the content is not what was recorded",
            TooShort => "shorter than the size the server recorded",
            TooLong => "longer than the size the server recorded",
            BrokenCompression => "the compressed data is broken",
            BrokenFrame => "the server's frame around the message is broken",
            Attachment => "an attachment that is kept apart is gone or damaged",
            Empty => "the file is empty",
            NotAHeader => "does not begin with a mail header",
            NulRun => "a run of zero bytes",
            FfRun => "a run of 0xFF bytes",
            BinaryRegion => "bytes that mail does not contain",
            NulByte => "single zero bytes",
            UnclosedMultipart => "a multipart is never closed",
            NoParts => "a multipart without its parts",
            BrokenBase64 => "broken base64",
            BrokenQuotedPrintable => "broken quoted-printable",
            HeaderUnended => "the header never ends",
            BrokenHeader => "lines in the header that are none of a header",
            BareHeader => "a header with neither sender nor date",
            ForeignSector => "another message begins in the middle of a line",
            CutAtBlock => "ends in the middle of a line, where a disk block ends",
            VirtualSizeMismatch => "the CRLF size in the name disagrees",
        }
    }
}

/// One range that a check blames. `offset` counts decoded bytes, except for `read` and
/// `native_hash`, where it counts stored bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub check: Check,
    pub kind: FaultKind,
    pub span: Span,
    /// The operating system's error number, for `read`.
    #[serde(default)]
    pub errno: Option<i32>,
}

/// How surely a copy is whole. Ordered; see DESIGN.md section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assurance {
    /// Reads and parses clean; nothing outside the message says more.
    Plausible,
    /// A native size, GUID or checksum agrees.
    Consistent,
    /// Equal copies on different file systems, not one inode.
    Corroborated,
    /// A DKIM body hash agrees.
    Authenticated,
    /// Equals the catalog's digest or the server's own content hash.
    Identical,
}

impl Assurance {
    pub const ALL: [Assurance; 5] = [
        Assurance::Plausible,
        Assurance::Consistent,
        Assurance::Corroborated,
        Assurance::Authenticated,
        Assurance::Identical,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Assurance::Plausible => "plausible",
            Assurance::Consistent => "consistent",
            Assurance::Corroborated => "corroborated",
            Assurance::Authenticated => "authenticated",
            Assurance::Identical => "identical",
        }
    }
}

/// Why a message that was expected is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// There is evidence of loss.
    Lost,
    /// Nothing tells loss from deletion.
    Undecided,
    /// There is evidence that its owner deleted it.
    Deleted,
    /// The same content stands elsewhere in the account.
    Moved,
    /// An isolated disappearance in a mailbox that otherwise changed normally.
    PresumedDeleted,
}

impl Missing {
    pub fn name(self) -> &'static str {
        match self {
            Missing::Lost => "lost",
            Missing::Undecided => "undecided",
            Missing::Deleted => "deleted",
            Missing::Moved => "moved",
            Missing::PresumedDeleted => "presumed_deleted",
        }
    }
}

/// The judgement on one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Intact(Assurance),
    Suspect,
    Damaged,
    Unreadable,
    Missing(Missing),
    Undetermined,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Intact(_) => "intact",
            Verdict::Suspect => "suspect",
            Verdict::Damaged => "damaged",
            Verdict::Unreadable => "unreadable",
            Verdict::Missing(_) => "missing",
            Verdict::Undetermined => "undetermined",
        }
    }

    pub fn is_intact(self) -> bool {
        matches!(self, Verdict::Intact(_))
    }
}

/// All outcomes for one copy, small, with the ranges that failed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Evidence {
    outcomes: [Outcome; Check::ALL.len()],
    faults: Vec<Fault>,
    /// What the signatures in its header say of the body, where there are any and the deep tier looked.
    #[serde(default)]
    signed: Option<Box<Signed>>,
    /// Encrypted or otherwise not decodable by design: content checks do not apply.
    pub opaque: bool,
}

impl Evidence {
    pub fn get(&self, check: Check) -> Outcome {
        self.outcomes[check as usize]
    }

    /// Records an outcome. A `Fail` is never weakened by a later outcome of the same check.
    pub fn set(&mut self, check: Check, outcome: Outcome) {
        let slot = &mut self.outcomes[check as usize];
        if *slot != Outcome::Fail {
            *slot = outcome;
        }
    }

    /// Records a fault and fails its check.
    pub fn blame(&mut self, fault: Fault) {
        self.outcomes[fault.check as usize] = Outcome::Fail;
        if self.faults.len() < FAULTS_KEPT {
            self.faults.push(fault);
        } else if fault.kind.proves_damage()
            && let Some(weak) = self.faults.iter_mut().find(|f| !f.kind.proves_damage())
        {
            *weak = fault;
        }
    }

    /// Takes back what a digest said that is another message's.
    pub fn forget_digest(&mut self) {
        self.outcomes[Check::Digest as usize] = Outcome::Absent;
        self.faults.retain(|fault| fault.check != Check::Digest);
    }

    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Records what the signatures say, and the outcome that follows.
    pub fn sign(&mut self, signed: Signed) {
        self.set(Check::DkimBody, signed.outcome());
        self.signed = Some(Box::new(signed));
    }

    /// What the signatures say.
    pub fn signed(&self) -> Option<&Signed> {
        self.signed.as_deref()
    }

    /// Whether a signature proves the body, all of it.
    pub fn is_body_proven(&self) -> bool {
        self.get(Check::DkimBody) == Outcome::Pass
    }

    /// Whether a signature proves that the fault is the sender's own: it lies in bytes that are as they were signed.
    /// Not where more faults were found than are kept, for those could be anywhere; and not at the end of what
    /// `l=` covers, where the rest may be cut off.
    fn is_the_senders(&self, fault: &Fault) -> bool {
        let Some(proven) = self.signed().and_then(Signed::proven) else { return false };
        let structure = matches!(fault.check, Check::Mime | Check::Encoding | Check::Pattern);
        let kept = self.faults.len() < FAULTS_KEPT;
        structure && kept && proven.holds(fault.span) && fault.span.end() < proven.end()
    }

    /// The outcome of a check, without what is the sender's own.
    fn own(&self, check: Check) -> Outcome {
        let mut faults = self.faults.iter().filter(|f| f.check == check).peekable();
        match self.get(check) {
            Outcome::Fail if faults.peek().is_some() && faults.all(|f| self.is_the_senders(f)) => Outcome::Pass,
            Outcome::Unknown if matches!(check, Check::Mime | Check::Encoding) && self.is_body_proven() => {
                Outcome::Pass
            }
            outcome => outcome,
        }
    }

    /// Joins what two looks at the same copy said.
    pub fn merge(&mut self, other: Evidence) {
        for check in Check::ALL {
            if other.get(check) != Outcome::Absent {
                self.set(check, other.get(check));
            }
        }
        for fault in other.faults {
            self.blame(fault);
        }
        if other.signed.is_some() {
            self.signed = other.signed;
        }
        self.opaque |= other.opaque;
    }

    /// The judgement that follows. Total and pure: every combination of outcomes has an answer.
    ///
    /// In order: bytes that could not be read make it `unreadable`; the catalog's digest decides where
    /// there is one; an opaque message is otherwise `undetermined`; a fault that proves damage makes it
    /// `damaged`, any other fault `suspect`, and so does a structure that the checks cannot follow; another
    /// check that could not finish leaves it `undetermined`; else it is intact, as surely as its best witness
    /// says. What a signature proves to be as the sender wrote it is no fault, however strange it is.
    pub fn verdict(&self) -> Verdict {
        match self.get(Check::Read) {
            Outcome::Fail => return Verdict::Unreadable,
            Outcome::Unknown | Outcome::Absent => return Verdict::Undetermined,
            Outcome::Pass => {}
        }
        match self.get(Check::Digest) {
            Outcome::Pass => return Verdict::Intact(Assurance::Identical),
            Outcome::Fail => return Verdict::Damaged,
            Outcome::Absent | Outcome::Unknown => {}
        }
        if self.faults.iter().any(|f| f.kind.proves_damage() && !self.is_the_senders(f)) {
            return Verdict::Damaged;
        }
        if self.opaque {
            return Verdict::Undetermined;
        }
        let content =
            [Check::NativeSize, Check::NativeHash, Check::Header, Check::Mime, Check::Encoding, Check::Pattern];
        if content.iter().any(|&c| self.own(c) == Outcome::Fail) {
            return Verdict::Suspect;
        }
        let essential = [Check::NativeSize, Check::NativeHash, Check::Header, Check::Pattern];
        let strange = [Check::Mime, Check::Encoding].iter().any(|&c| self.own(c) == Outcome::Unknown);
        if strange && essential.iter().all(|&c| self.get(c) != Outcome::Unknown) {
            return Verdict::Suspect;
        }
        if content.iter().any(|&c| self.own(c) == Outcome::Unknown) || self.get(Check::Header) == Outcome::Absent {
            return Verdict::Undetermined;
        }
        Verdict::Intact(self.assurance())
    }

    /// How surely the copy is whole, given that no check failed: the lower of header and body.
    fn assurance(&self) -> Assurance {
        self.header_assurance().min(self.body_assurance())
    }

    /// How surely the body is, given that no check failed.
    pub fn body_assurance(&self) -> Assurance {
        if self.is_body_proven() { Assurance::Authenticated } else { self.header_assurance() }
    }

    /// How surely the header is: no signature helps it, for the key that would prove one is not here.
    fn header_assurance(&self) -> Assurance {
        if self.get(Check::NativeSize) == Outcome::Pass || self.get(Check::NativeHash) == Outcome::Pass {
            Assurance::Consistent
        } else {
            Assurance::Plausible
        }
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod verdict_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Agrees;

    fn read_clean() -> Evidence {
        let mut evidence = Evidence::default();
        evidence.set(Check::Read, Outcome::Pass);
        evidence.set(Check::Header, Outcome::Pass);
        evidence
    }

    fn fault(check: Check, kind: FaultKind) -> Fault {
        Fault { check, kind, span: Span::new(0, 1), errno: None }
    }

    #[test]
    fn nothing_checked_is_never_intact() {
        assert_eq!(Evidence::default().verdict(), Verdict::Undetermined);
        let mut read_only = Evidence::default();
        read_only.set(Check::Read, Outcome::Pass);
        assert_eq!(read_only.verdict(), Verdict::Undetermined);
    }

    #[test]
    fn the_digest_decides_over_the_cheap_checks() {
        let mut evidence = read_clean();
        evidence.blame(fault(Check::Mime, FaultKind::UnclosedMultipart));
        assert_eq!(evidence.verdict(), Verdict::Suspect);
        evidence.set(Check::Digest, Outcome::Pass);
        assert_eq!(evidence.verdict(), Verdict::Intact(Assurance::Identical));
        let mut changed = read_clean();
        changed.set(Check::NativeSize, Outcome::Pass);
        changed.set(Check::Digest, Outcome::Fail);
        assert_eq!(changed.verdict(), Verdict::Damaged);
    }

    #[test]
    fn holes_are_unreadable_whatever_else_passed() {
        let mut evidence = read_clean();
        evidence.set(Check::NativeSize, Outcome::Pass);
        evidence.blame(fault(Check::Read, FaultKind::ReadError));
        assert_eq!(evidence.verdict(), Verdict::Unreadable);
    }

    #[test]
    fn every_combination_has_an_answer_and_no_failure_is_intact() {
        let outcomes = [Outcome::Pass, Outcome::Fail, Outcome::Absent, Outcome::Unknown];
        for combination in 0..4usize.pow(9) {
            let mut evidence = Evidence::default();
            let mut rest = combination;
            for check in Check::ALL {
                evidence.set(check, outcomes[rest % 4]);
                rest /= 4;
            }
            if let Verdict::Intact(assurance) = evidence.verdict() {
                assert_eq!(evidence.get(Check::Read), Outcome::Pass);
                let failed = Check::ALL.iter().any(|&c| c != Check::DkimBody && evidence.get(c) == Outcome::Fail);
                assert!(!failed || assurance == Assurance::Identical, "{evidence:?}");
            }
        }
    }

    fn signed(evidence: &mut Evidence, agrees: Agrees) {
        evidence.sign(Signed { domain: None, agrees, header: Some([1; 16]), body: 100 });
    }

    fn blamed(check: Check, kind: FaultKind, span: Span, agrees: Agrees) -> Verdict {
        let mut evidence = read_clean();
        evidence.blame(Fault { check, kind, span, errno: None });
        signed(&mut evidence, agrees);
        evidence.verdict()
    }

    #[test]
    fn a_signature_raises_the_body_alone() {
        let mut evidence = read_clean();
        signed(&mut evidence, Agrees::Whole);
        assert_eq!(evidence.body_assurance(), Assurance::Authenticated);
        assert_eq!(evidence.verdict(), Verdict::Intact(Assurance::Plausible), "nothing proves the header");
        evidence.set(Check::NativeSize, Outcome::Pass);
        assert_eq!(evidence.verdict(), Verdict::Intact(Assurance::Consistent));
        for agrees in [Agrees::UpTo(5000), Agrees::No, Agrees::Unread] {
            let mut evidence = read_clean();
            signed(&mut evidence, agrees);
            assert_eq!(evidence.get(Check::DkimBody), Outcome::Unknown, "never a failure");
            assert_eq!(evidence.body_assurance(), Assurance::Plausible);
            assert_eq!(evidence.verdict(), Verdict::Intact(Assurance::Plausible));
        }
    }

    #[test]
    fn what_the_sender_signed_is_no_fault_and_everything_else_is() {
        let (within, before) = (Span::new(200, 50), Span::new(90, 50));
        let whole = Verdict::Intact(Assurance::Plausible);
        for (check, kind, found) in [
            (Check::Mime, FaultKind::UnclosedMultipart, Verdict::Suspect),
            (Check::Encoding, FaultKind::BrokenBase64, Verdict::Suspect),
            (Check::Pattern, FaultKind::NulByte, Verdict::Suspect),
            (Check::Pattern, FaultKind::BinaryRegion, Verdict::Damaged),
        ] {
            assert_eq!(blamed(check, kind, within, Agrees::Whole), whole);
            assert_eq!(blamed(check, kind, within, Agrees::UpTo(251)), whole);
            assert_eq!(blamed(check, kind, within, Agrees::UpTo(250)), found, "it may be cut off there");
            assert_eq!(blamed(check, kind, within, Agrees::No), found);
            assert_eq!(blamed(check, kind, before, Agrees::Whole), found, "the header is not proven");
        }
        for (check, kind, found) in [
            (Check::Read, FaultKind::ReadError, Verdict::Unreadable),
            (Check::NativeSize, FaultKind::TooShort, Verdict::Damaged),
            (Check::Header, FaultKind::NotAHeader, Verdict::Damaged),
            (Check::NativeHash, FaultKind::BrokenCompression, Verdict::Damaged),
        ] {
            assert_eq!(blamed(check, kind, within, Agrees::Whole), found);
        }
        let mut many = read_clean();
        (0..=FAULTS_KEPT).for_each(|_| many.blame(fault(Check::Pattern, FaultKind::NulRun)));
        signed(&mut many, Agrees::Whole);
        assert_eq!(many.verdict(), Verdict::Damaged, "what was not kept may lie anywhere");
    }

    #[test]
    fn a_failure_is_never_weakened_and_proof_survives_the_cap() {
        let mut evidence = read_clean();
        for _ in 0..FAULTS_KEPT + 5 {
            evidence.blame(fault(Check::Encoding, FaultKind::BrokenBase64));
        }
        evidence.blame(fault(Check::Pattern, FaultKind::NulRun));
        evidence.set(Check::Encoding, Outcome::Pass);
        assert_eq!(evidence.get(Check::Encoding), Outcome::Fail);
        assert_eq!(evidence.faults().len(), FAULTS_KEPT);
        assert_eq!(evidence.verdict(), Verdict::Damaged);
    }
}
