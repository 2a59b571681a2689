//! Every limit in one place, with the relations between them checked at compile time.

use std::time::Duration;

/// Messages up to this size are held whole; larger ones stream through windows. Bytes.
pub const WHOLE_MESSAGE: u64 = 1 << 20;
/// Size of one window of a streamed message. Bytes.
pub const WINDOW: usize = 256 << 10;
/// A file that is larger is no message, and is not read: no server takes one, and anybody can make a file of
/// terabytes that takes no room on the disk. Bytes.
pub const MESSAGE_MAX: u64 = 2 << 30;
/// A message that decodes to more than this is not decoded further (compression bombs). Bytes.
pub const DECODED_MAX: u64 = 2 << 30;
/// A compressed message may grow by at most this factor beyond the first window.
pub const DECODED_RATIO: u64 = 1100;
/// Faults kept for one copy; more of the same tell nothing new.
pub const FAULTS_KEPT: usize = 16;
/// Bytes of header that the envelope parser is shown.
pub const HEADER_MAX: usize = 256 << 10;
/// Bytes kept of any one envelope field.
pub const ENVELOPE_FIELD: usize = 512;
/// Signatures of one message whose body hashes are compared; whole mail that went through many hands has five.
pub const SIGNATURES_MAX: usize = 16;
/// Different hashes of one body that are computed for them.
pub const BODY_HASHES_MAX: usize = 8;
/// A longer signature is not read. Bytes.
pub const SIGNATURE_MAX: usize = 16 << 10;
/// Companion files above this size are not read (a user may have written anything there). Bytes.
pub const COMPANION_MAX: u64 = 64 << 20;
/// A server's own lists, indexes and logs above this size are not read: some 400,000 messages in one mailbox. Bytes.
pub const SERVER_FILE_MAX: u64 = 32 << 20;
/// What owners deleted or moved stays on record for so long. Seconds.
pub const DELETED_KEPT: i64 = 90 * 86_400;
/// Runs of a store whose findings stay on record.
pub const RUNS_KEPT: u32 = 100;
/// One line of a plan, a journal or a configuration list. Bytes.
pub const LINE_MAX: usize = 32 << 20;
/// A list of UIDs that a plan can hold; escaped it is up to three times as long. Bytes.
pub const LIST_MAX: u64 = 10 << 20;
/// A file of settings or a list of accounts. Bytes.
pub const SETTINGS_MAX: u64 = 64 << 20;
/// Levels below the store's root that discovery walks.
pub const DEPTH_MAX: usize = 64;
/// One frame between parent and lane. Bytes.
pub const FRAME_MAX: usize = 32 << 20;
/// Messages named in one read request.
pub const READ_BATCH: usize = 64;
/// The same of a lane that reads at a limited pace.
pub const PACED_BATCH: usize = 4;
/// The same of a lane that reads in the order in which messages lie on the disk.
pub const SWEEP_BATCH: usize = 512;
/// Bytes that such a lane reads ahead of judging them.
pub const SWEEP_BYTES: usize = 8 << 20;
/// Messages that are put in order together, and those of a lane that has not been measured, or has little time.
pub const SWEEP_WINDOW: usize = 64 << 10;
pub const MEASURE_WINDOW: usize = 2048;
/// Read requests that a lane holds at a time.
pub const READS_IN_FLIGHT: usize = 4;
/// Directory entries in one answer of a lane.
pub const LIST_BATCH: usize = 2048;
/// Fresh lanes started on one device after time-outs, before it is given up.
pub const LANE_RESTARTS: u32 = 8;
/// Paths in one answer: each may be as long as the deepest tree that is walked.
pub const PATHS_BATCH: usize = 128;
/// Files of one home, or troubles of one listing, that are told; more are too many to be anybody's work.
pub const NAMED_MAX: usize = 10_000;
/// Longest part of a file in one answer. Bytes.
pub const FRAGMENT_MAX: u64 = 1 << 20;
/// Blocks of one message that are compared.
pub const BLOCKS_MAX: usize = 256 << 10;
/// Steps that are written, synced and renamed together.
pub const APPLY_BATCH: usize = 256;
/// Bytes that are written before a batch is synced.
pub const APPLY_BATCH_BYTES: u64 = 64 << 20;
/// How long a mailbox that a server has locked is waited for, and all such mailboxes of a run together.
pub const LOCK_WAIT: Duration = Duration::from_secs(10);
pub const LOCK_WAIT_RUN: Duration = Duration::from_secs(60);
/// Between two looks at such a lock.
pub const LOCK_POLL: Duration = Duration::from_millis(50);
/// Bytes that must stay free on the target beyond what a plan needs.
pub const FREE_RESERVE: u64 = 32 << 20;
/// Block size for comparing a damaged copy with a candidate outside the blamed ranges. Bytes.
pub const COMPARE_BLOCK: u64 = 4096;
/// Ranges kept in which two copies differ; further ones widen the last.
pub const DIFFERENCES_KEPT: usize = 32;
/// Ranges at whose edges two copies are compared byte by byte.
pub const CUTS_MAX: usize = 256;

const _: () = assert!(WINDOW as u64 <= WHOLE_MESSAGE);
const _: () = assert!(DECODED_MAX <= MESSAGE_MAX && COMPANION_MAX <= MESSAGE_MAX);
const _: () = assert!(LINE_MAX <= FRAME_MAX && LIST_MAX * 3 + (1 << 20) < LINE_MAX as u64);
const _: () = assert!((WINDOW as u64).is_multiple_of(COMPARE_BLOCK));
const _: () = assert!((BLOCKS_MAX + CUTS_MAX) * 17 < FRAME_MAX && PATHS_BATCH * DEPTH_MAX * 2 * 256 < FRAME_MAX);
const _: () = assert!(SWEEP_BYTES as u64 >= WHOLE_MESSAGE && MEASURE_WINDOW <= SWEEP_WINDOW);
const _: () = assert!(READ_BATCH * super::groups::GROUPS_MAX as usize * 33 < FRAME_MAX / 2);
const _: () = assert!(HEADER_MAX <= WINDOW && BODY_HASHES_MAX <= SIGNATURES_MAX);
const _: () = assert!(CUTS_MAX >= 4 * FAULTS_KEPT);
