//! Real Dovecot as the judge: what its clients see of a store that is being repaired.

mod common;

#[path = "reality/kit.rs"]
mod kit;

#[path = "dovecot/imap.rs"]
mod imap;
#[path = "dovecot/server.rs"]
mod server;

#[path = "dovecot/account.rs"]
mod account;
#[path = "dovecot/across.rs"]
mod across;
#[path = "dovecot/apart.rs"]
mod apart;
#[path = "dovecot/attachments.rs"]
mod attachments;
#[path = "dovecot/judge.rs"]
mod judge;
#[path = "dovecot/rows.rs"]
mod rows;

#[path = "dovecot/live.rs"]
mod live;
#[path = "dovecot/locks.rs"]
mod locks;
#[path = "dovecot/nights.rs"]
mod nights;
#[path = "dovecot/returning.rs"]
mod returning;
#[path = "dovecot/shared.rs"]
mod shared;
#[path = "dovecot/table.rs"]
mod table;
#[path = "dovecot/witness.rs"]
mod witness;
