//! `--metrics FILE`: what the records say, for node_exporter's textfile collector.
//!
//! Writes that file and nothing else. The collector must never see half of it: another name first, then renamed.

use super::session::Session;
use crate::catalog::{self, Catalog, StoreRow};
use crate::model::path;
use crate::report::metrics::{self, Run, Store};
use crate::sys::{health, mounts};
use anyhow::Context;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Writes the metrics of all stores on record, if that is asked for. `extra` is known without the records.
pub fn write(session: &Session, catalog: Option<&Catalog>, extra: Vec<Store>) -> anyhow::Result<()> {
    let Some(file) = &session.settings.metrics else { return Ok(()) };
    let mut stores = extra;
    let mut about = metrics::Catalog::default();
    if let Some(catalog) = catalog {
        about.bytes = catalog.size_bytes().ok();
        about.backup = catalog::generations(catalog.path())?.first().map(|newest| newest.at);
        for row in catalog.stores()? {
            let store = store(catalog, &row)?;
            match stores.iter_mut().find(|known| known.path == store.path) {
                // This run, which could not be recorded, is newer than any on record.
                Some(known) => *known = Store { run: known.run.clone(), ..store },
                None => stores.push(store),
            }
        }
    }
    replace(file, &metrics::text(&stores, &about))
        .with_context(|| format!("cannot write metrics to {}", file.display()))
}

fn store(catalog: &Catalog, row: &StoreRow) -> anyhow::Result<Store> {
    let runs = catalog.runs(Some(row.id), u32::MAX)?;
    let tallies = || runs.iter().filter_map(|run| run.tally.as_ref());
    let (proof, harm) = (catalog.proof(row.id)?, catalog.harm_counts(row.id)?);
    let last = catalog.latest_run(row.id)?;
    Ok(Store {
        run: last.and_then(|run| Some(Run { began: run.began, ended: run.ended?, exit: run.exit?, tally: run.tally? })),
        verified: catalog.last_whole_verify(row.id)?.and_then(|run| run.ended),
        oldest: proof.oldest,
        never_verified: Some(proof.never),
        open: Some([harm.damaged, harm.unreadable, harm.lost, harm.undecided]),
        accepted: Some(harm.accepted),
        runs_total: tallies().count() as u64,
        read_errors_total: tallies().map(|tally| tally.read_errors).sum(),
        read_bytes_total: tallies().map(|tally| tally.bytes).fold(0, u64::saturating_add),
        ..known(Path::new(OsStr::from_bytes(&row.path)))
    })
}

/// What the kernel says of a store, and its name.
pub fn known(store: &Path) -> Store {
    Store {
        path: path::escape(store.as_os_str().as_bytes()),
        device: mounts::mount_of(store).map_or(String::new(), |mount| path::escape(mount.source.as_bytes())),
        filesystem_errors: health::recorded_errors(store),
        ..Store::default()
    }
}

fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let name = file.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The collector reads *.prom only.
    let temporary = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary).and_then(|mut to| {
        to.write_all(text.as_bytes())?;
        to.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, file)) {
        fs::remove_file(&temporary).ok();
        return Err(error);
    }
    File::open(folder)?.sync_all()
}
