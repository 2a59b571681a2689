//! Real Dovecot as the judge: what its clients see of a store that is being repaired.

mod common;

#[path = "reality/kit.rs"]
mod kit;

#[path = "dovecot/imap.rs"]
mod imap;
#[path = "dovecot/server.rs"]
mod server;

#[path = "dovecot/live.rs"]
mod live;
#[path = "dovecot/locks.rs"]
mod locks;
#[path = "dovecot/returning.rs"]
mod returning;
#[path = "dovecot/witness.rs"]
mod witness;
