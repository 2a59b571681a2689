//! mailmend's own files, which may have been edited, and what people type.

use mailmend::apply::log::{FileLog, Line, Log};
use mailmend::cli::{config, config_file, values as typed};
use mailmend::engine::planfile::PlanReader;
use mailmend::model::journal::Record;
use mailmend::model::plan::Step;
use mailmend::store::target::{lawful, permitted, stays_home};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The bytes as a file.
fn file(data: &[u8], look: impl FnOnce(&Path)) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(data).expect("room for it");
    look(file.path());
}

fn step(step: &Step) {
    if permitted(step).is_ok() {
        let path = step.target.as_bytes();
        assert!(!path.starts_with(b"/") && !path.split(|&byte| byte == b'/').any(|part| part == b".."));
        stays_home(step, &mut |_| Ok(false)).ok();
        stays_home(step, &mut |_| Ok(true)).ok();
    }
    let text = serde_json::to_vec(step).expect("a step that was read can be written");
    assert_eq!(serde_json::from_slice::<Step>(&text).expect("and read again"), *step);
}

pub fn plan(data: &[u8]) {
    file(data, |path| {
        let Ok(steps) = PlanReader::open(path) else { return };
        let mut last = 0;
        for next in steps.take_while(Result::is_ok).flatten() {
            assert!(next.number > last, "numbers rise");
            last = next.number;
            step(&next);
        }
    });
}

/// Both ways through a journal see the same, and a change that no run makes is none.
pub fn journal(data: &[u8]) {
    file(data, |path| {
        let Ok(log) = FileLog::open_existing(path) else { return };
        let log = log.checked(lawful);
        let forward: Result<Vec<Line>, _> = log.forward().and_then(Iterator::collect);
        let backward: Result<Vec<Line>, _> = log.backward().and_then(Iterator::collect);
        if let (Ok(forward), Ok(mut backward)) = (forward, backward) {
            backward.reverse();
            assert_eq!(forward, backward);
            for line in &forward {
                if let Line::Record(record) = line
                    && let Record::Begin(intent) = &**record
                {
                    assert!(lawful(intent));
                }
            }
        }
    });
}

pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(error) = config_file::File::parse(text) {
        assert!(!error.is_empty());
    }
    config::parse_accounts(text).ok();
}

pub fn values(data: &[u8]) {
    let text = OsStr::from_bytes(data);
    typed::Spec::parse(text).ok();
    typed::StoreArg::parse(text).ok();
    if let Ok(text) = std::str::from_utf8(data) {
        typed::parse_time(text).ok();
        typed::run_id(text).ok();
        let line = mailmend::report::sanitise::inline(text, 80);
        assert!(!line.chars().any(mailmend::report::sanitise::is_dangerous), "{line:?}");
    }
    mailmend::source::time::in_name(data);
    mailmend::source::time::rotation_age(data);
}
