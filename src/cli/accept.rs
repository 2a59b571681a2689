//! `accept`: records that a loss is final, with who, when and why.

use super::args::Accept;
use super::session::Session;
use crate::catalog::{Acceptance, Catalog};
use crate::engine::account::EngineError;
use crate::model::Key;
use crate::model::path::unescape;
use crate::report::words;
use crate::sys::clock;
use crate::sys::users::Users;

/// Runs the command; returns the exit status.
pub fn run(session: &mut Session, accept: &Accept) -> anyhow::Result<u8> {
    let path = session.settings.catalog.clone();
    if !path.exists() {
        return Err(
            EngineError::Usage(format!("there is no catalog at {}: nothing was ever found", path.display())).into()
        );
    }
    let mut catalog = Catalog::open(&path)?;
    let who = who();
    let by = Acceptance { who: &who, at: clock::now(), why: &accept.reason };
    let mut accepted = 0;
    if let Some(run) = &accept.run {
        if catalog.find_run(run)?.is_empty() {
            return Err(
                EngineError::Usage(format!("the run {run} is not known here; mailmend status lists the runs")).into()
            );
        }
        accepted += catalog.accept_run(run, by)?;
    }
    for store in catalog.stores()? {
        if let Some(account) = &accept.account {
            accepted += catalog.accept_account(store.id, account, by)?;
        }
        if let Some(key) = &accept.key {
            let bytes = unescape(key).ok_or_else(|| EngineError::Usage(format!("'{key}' is no key")))?;
            accepted += catalog.accept_key(store.id, &Key(bytes), by)?;
        }
    }
    catalog.sync()?;
    if accepted == 0 {
        let text = "nothing was accepted: no open loss or damage is known there; mailmend status shows what is";
        return Err(EngineError::Usage(text.to_owned()).into());
    }
    let text = format!(
        "{} recorded as final, by {who}: {}\n\
         Nothing in the store was changed. From now on they set no exit status; what is found anew does.\n\
         'mailmend status' keeps naming them.\n",
        words::count(accepted, "loss"),
        accept.reason
    );
    match session.settings.json {
        true => session.screen.emit(&serde_json::json!({
            "schema": crate::report::json::SCHEMA, "run": session.run, "type": "accepted",
            "accepted": accepted, "who": who, "reason": accept.reason,
        })),
        false => session.screen.print(&crate::report::sanitise::block(&text)),
    }
    session.end("accept", 0);
    Ok(0)
}

/// Who is at the keyboard, as far as the process can tell.
fn who() -> String {
    let uid = rustix_uid();
    let users = Users::read().unwrap_or_default();
    let name = users.user_name(uid).map_or_else(|| uid.to_string(), str::to_owned);
    match std::env::var("SUDO_USER") {
        Ok(sudo) if !sudo.is_empty() && uid == 0 => format!("{sudo} as {name}"),
        _ => name,
    }
}

fn rustix_uid() -> u32 {
    rustix::process::getuid().as_raw()
}
