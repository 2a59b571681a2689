//! Bytes that mail does not contain: NUL runs, 0xFF runs, regions of control bytes.
//!
//! Knows no MIME: the caller says which stretches are binary by declaration and leaves them out. High bytes
//! prove nothing (ISO-8859-1, KOI8, Shift-JIS and GB2312 mail is made of them); control bytes do, except for
//! those that text uses: white space, backspace (overstriking), SO, SI and ESC (ISO-2022).

use crate::model::{Check, Evidence, Fault, FaultKind, Span};

/// Bytes that are counted together; cells are aligned to the message's start.
const CELL: u64 = 64;
/// How far around a binary look a control byte still belongs to its region: as far as the history reaches. Bytes.
const REACH: u64 = 16 * CELL;
/// Control bytes within one look, the last four cells, that make it binary. Random bytes have 23 of 256; text has none.
const LOOK_LIMIT: u32 = 10;
/// Random bytes without a control byte in so many are one case in 170,000. Bytes.
const BESIDE: u64 = 128;
/// A shorter run of NUL is not one.
const NUL_RUN: u64 = 16;
/// A shorter run of 0xFF is not one: spam in 8-bit Korean has them of up to 41, erased flash of 512 and more.
const FF_RUN: u64 = 64;
/// Disks lose whole sectors: a binary region is blamed to the sector's edges.
const SECTOR: u64 = 512;
/// Findings of one kind that lie this close are one.
const NEAR: u64 = 64;

/// The state between windows.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// Control bytes of the last sixteen full cells, a byte for each, the latest lowest.
    history: u128,
    /// Offset of the cell being filled, its control bytes so far.
    cell: u64,
    control: u8,
    run_byte: u8,
    /// Where the run of `run_byte` in hand stands.
    run: Option<Span>,
    region: Option<Span>,
    nul_run: Option<Span>,
    ff_run: Option<Span>,
    nul_byte: Option<Span>,
}

impl Pattern {
    /// Takes bytes at `offset`. A jump in the offsets ends whatever was being counted.
    pub(super) fn feed(&mut self, mut offset: u64, bytes: &[u8], evidence: &mut Evidence) {
        let to_edge = ((CELL - offset % CELL) % CELL).min(bytes.len() as u64) as usize;
        let (head, rest) = bytes.split_at(to_edge);
        self.partial(offset, head, evidence);
        offset += head.len() as u64;
        let (cells, tail) = rest.as_chunks::<{ CELL as usize }>();
        for cell in cells {
            let (control, has_runs) = classify(cell);
            if has_runs {
                self.runs(offset, cell, evidence);
            } else {
                self.end_run(evidence);
            }
            self.control = control;
            self.cell = offset;
            self.end_cell(evidence);
            offset += CELL;
        }
        self.partial(offset, tail, evidence);
    }

    /// Bytes are missing here, or binary by declaration: nothing is counted across.
    pub(super) fn interrupt(&mut self, evidence: &mut Evidence) {
        self.end_run(evidence);
        self.history = 0;
        self.control = 0;
    }

    /// No more bytes come; `length` is where the message ends.
    pub(super) fn finish(mut self, length: u64, evidence: &mut Evidence) {
        self.end_run(evidence);
        self.end_cell(evidence);
        for (kind, span) in [
            (FaultKind::BinaryRegion, self.region),
            (FaultKind::NulRun, self.nul_run),
            (FaultKind::FfRun, self.ff_run),
            (FaultKind::NulByte, self.nul_byte),
        ] {
            if let Some(span) = span {
                let clipped = Span::new(span.offset, span.length.min(length.saturating_sub(span.offset)));
                evidence.blame(Fault { check: Check::Pattern, kind, span: clipped, errno: None });
            }
        }
    }

    /// Part of a cell, at either edge of a window.
    fn partial(&mut self, offset: u64, bytes: &[u8], evidence: &mut Evidence) {
        if bytes.is_empty() {
            return;
        }
        self.cell = offset - offset % CELL;
        self.control += bytes.iter().filter(|&&byte| is_control(byte)).count() as u8;
        self.runs(offset, bytes, evidence);
        if (offset + bytes.len() as u64).is_multiple_of(CELL) {
            self.end_cell(evidence);
        }
    }

    /// A cell is full: does it complete a binary look? A region begins and ends with its outermost control bytes.
    fn end_cell(&mut self, evidence: &mut Evidence) {
        let control = std::mem::take(&mut self.control);
        self.history = (self.history << 8) | u128::from(control);
        if self.history == 0 {
            return;
        }
        let end = self.cell + CELL;
        let look = (self.history as u32).to_le_bytes();
        if look.iter().map(|&count| u32::from(count)).sum::<u32>() >= LOOK_LIMIT {
            let cells = u64::from((u128::BITS - self.history.leading_zeros()).div_ceil(8));
            self.binary(end.saturating_sub(cells * CELL), end, evidence);
        } else if control > 0 && self.region.is_some_and(|region| self.cell <= region.end() + REACH) {
            self.binary(self.cell, end, evidence);
        }
    }

    /// Blames a stretch to the sectors' edges, and as far as bytes of any value may go on without a control byte.
    fn binary(&mut self, start: u64, end: u64, evidence: &mut Evidence) {
        let start = (start / SECTOR * SECTOR).min(start.saturating_sub(BESIDE));
        let end = end.next_multiple_of(SECTOR).max(end + BESIDE);
        join(&mut self.region, FaultKind::BinaryRegion, Span::new(start, end - start), REACH, evidence);
    }

    /// Follows runs of NUL and 0xFF byte by byte; only cells that hold such bytes come here.
    fn runs(&mut self, offset: u64, bytes: &[u8], evidence: &mut Evidence) {
        for (at, &byte) in (offset..).zip(bytes) {
            if let Some(run) = &mut self.run {
                if byte == self.run_byte {
                    run.length += 1;
                    continue;
                }
                self.end_run(evidence);
            }
            if byte == 0 || byte == 0xFF {
                self.run_byte = byte;
                self.run = Some(Span::new(at, 1));
            }
        }
    }

    fn end_run(&mut self, evidence: &mut Evidence) {
        let Some(run) = self.run.take() else { return };
        match (self.run_byte, run.length) {
            (0, NUL_RUN..) => join(&mut self.nul_run, FaultKind::NulRun, run, NEAR, evidence),
            (0, _) => join(&mut self.nul_byte, FaultKind::NulByte, run, NEAR, evidence),
            (_, FF_RUN..) => join(&mut self.ff_run, FaultKind::FfRun, run, NEAR, evidence),
            _ => {}
        }
    }
}

/// Extends the finding in hand, or reports it and begins the next.
fn join(slot: &mut Option<Span>, kind: FaultKind, span: Span, near: u64, evidence: &mut Evidence) {
    match slot {
        Some(open) if span.offset <= open.end().saturating_add(near) => {
            let start = open.offset.min(span.offset);
            *open = Span::new(start, open.end().max(span.end()) - start);
        }
        Some(open) => {
            evidence.blame(Fault { check: Check::Pattern, kind, span: *open, errno: None });
            *open = span;
        }
        None => *slot = Some(span),
    }
}

/// Counts control bytes and tells whether there is any NUL or 0xFF. Without branches, so that the compiler
/// does sixteen or more bytes at once.
fn classify(cell: &[u8; CELL as usize]) -> (u8, bool) {
    let (mut control, mut runs) = (0u8, false);
    for &byte in cell {
        control += u8::from(is_control(byte));
        runs |= byte.wrapping_add(1) < 2;
    }
    (control, runs)
}

/// Control bytes that no text contains; NUL is found by its runs.
fn is_control(byte: u8) -> bool {
    (byte.wrapping_sub(1) < 7) | (byte.wrapping_sub(16) < 11) | (byte.wrapping_sub(28) < 4) | (byte == 0x7F)
}
