//! The posts: how they map to the user's tables, what the ledgers say of them, and the verdict.

pub mod evidence;
pub mod indexes;
pub mod mapping;
pub mod verdict;
