//! Stores, plans, journals and catalogs of attackers: what users can plant where they may write, also while root
//! scans and repairs. Driven through the real binary.

mod common;

#[path = "reality/kit.rs"]
mod kit;

#[path = "hostile/edited.rs"]
mod edited;
#[path = "hostile/owners.rs"]
mod owners;
#[path = "hostile/places.rs"]
mod places;
#[path = "hostile/plants.rs"]
mod plants;
#[path = "hostile/races.rs"]
mod races;
#[path = "hostile/sizes.rs"]
mod sizes;
#[path = "hostile/trap.rs"]
mod trap;
